package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvitationsAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const path = "/api/v1/users/94771234567/consent/invitation"
	e.call(t, http.StatusNotFound, "POST", path, `{}`)
	e.call(t, http.StatusConflict, "POST", "/api/v1/users", `{"phone_number":"+94771234567","invite":true}`)
	e.call(t, http.StatusConflict, "POST", "/api/v1/users/bulk?invite=true", `[{"phone_number":"+94771234567"}]`)
	e.campaign(t)
	id := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"x","template_id":1,"trigger":"invitation"}`)["id"]
	e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%v/trigger", id), "")
	e.call(t, http.StatusCreated, "POST", "/api/v1/users", `{"phone_number":"+94771234567"}`)
	e.call(t, http.StatusNotFound, "GET", path, "")
	require.Equal(t, []string{"campaign_id"}, fields(e.call(t, http.StatusUnprocessableEntity, "POST", path, `{"campaign_id":99}`)))
	sent := e.call(t, http.StatusAccepted, "POST", path, `{"evidence":"Form"}`)
	require.EqualValues(t, id, sent["campaign_id"])
	require.Equal(t, "pending", sent["state"])
	require.Nil(t, sent["confirm_until"])
	require.Equal(t, sent, e.call(t, http.StatusOK, "GET", path, ""))
	e.call(t, http.StatusConflict, "POST", path, `{"evidence":"Form"}`)
	held := e.call(t, http.StatusOK, "GET", "/api/v1/users/94771234567/export", "")
	require.Equal(t, []any{sent}, held["invitations"])

	require.Equal(t, "PENDING", e.call(t, http.StatusCreated, "POST", "/api/v1/users", `{"phone_number":"+94771234568","invite":true}`)["consent_state"])
	e.call(t, http.StatusOK, "GET", "/api/v1/users/94771234568/consent/invitation", "")
	for _, body := range []string{`{"phone_number":"+94771234569","invite":true,"consent_state":"OPT_IN"}`} {
		require.Equal(t, []string{"invite"}, fields(e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/users", body)))
	}
	require.Equal(t, []string{"subscription_topic_id"}, fields(e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/campaigns",
		`{"topic":"x","template_id":1,"trigger":"invitation","subscription_topic_id":1}`)))
}

func TestInvitationRulesAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const path = "/api/v1/invitations"
	require.Equal(t, map[string]any{"confirm_within_hours": 72.0, "invite_again_after_days": 30.0, "words": []any{}}, e.call(t, http.StatusOK, "GET", path, ""))
	set := e.call(t, http.StatusOK, "PUT", path, `{"confirm_within_hours":24,"invite_again_after_days":90,"words":["Count me IN!"]}`)
	require.Equal(t, map[string]any{"confirm_within_hours": 24.0, "invite_again_after_days": 90.0, "words": []any{"count me in"}}, set)
	require.Equal(t, set, e.call(t, http.StatusOK, "GET", path, ""))
	require.Equal(t, []string{"words[1]"}, fields(e.call(t, http.StatusUnprocessableEntity, "PUT", path,
		`{"confirm_within_hours":24,"invite_again_after_days":90,"words":["sure","STOP"]}`)))
	e.call(t, http.StatusUnprocessableEntity, "PUT", path, `{"confirm_within_hours":0,"invite_again_after_days":90}`)
}
