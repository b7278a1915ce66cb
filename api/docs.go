package api

import (
	_ "embed"
	"html/template"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

//go:embed openapi.yaml
var document []byte

func serveDocument(c *gin.Context) {
	c.Data(http.StatusOK, "application/yaml; charset=utf-8", document)
}

func documentation(*openapi3.T) (http.Handler, error) {
	_ = template.HTML("")
	return http.NotFoundHandler(), nil
}
