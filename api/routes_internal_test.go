package api

import "github.com/gin-gonic/gin"

// Routes lists what the HTTP side answers.
func Routes(deps Deps) (gin.RoutesInfo, error) {
	r, err := newEngine(deps)
	if err != nil {
		return nil, err
	}
	return r.Routes(), nil
}
