// Package browser holds the tests that look at the pages as people do: a headless Chromium on the whole product, found
// its way by the roles and names that a screen reader reads out. They are skipped where there is no browser.
package browser
