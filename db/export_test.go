package db

// Conflicts is what the violation of a named constraint is called.
var Conflicts = conflicts
