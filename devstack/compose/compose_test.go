// Package compose checks docker-compose.yml without Docker.
package compose

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

const root = "../.."

func load(t *testing.T, env []string, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(
		[]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithWorkingDirectory(root),
		cli.WithEnv(env),
		cli.WithProfiles(profiles),
	)
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	always := []string{
		"api", "migrate", "postgres", "temporal", "temporal-namespace", "temporal-schema", "temporal-ui", "worker",
	}
	for name, test := range map[string]struct {
		profiles []string
		want     []string
	}{
		"with Twilio":        {nil, always},
		"with the simulator": {[]string{"local"}, append(slices.Clone(always), "simulator")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := load(t, nil, test.profiles...)
			require.ElementsMatch(t, test.want, project.ServiceNames())
			for _, service := range project.Services {
				for dependency := range service.DependsOn {
					require.Contains(t, test.want, dependency, service.Name)
				}
				for _, port := range service.Ports {
					require.Equal(t, "127.0.0.1", port.HostIP, "%s publishes %s to others", service.Name, port.Published)
				}
			}
		})
	}
}

func TestNothingReachesTwilioByAccident(t *testing.T) {
	t.Parallel()
	setting := func(project *types.Project, name string) string {
		t.Helper()
		value := project.Services["worker"].Environment[name]
		require.NotNil(t, value, name)
		return *value
	}
	project := load(t, nil)
	require.Equal(t, "http://simulator:8010", setting(project, "TWILIO_BASE_URL"))

	project = load(t, []string{"TWILIO_BASE_URL=", "TWILIO_AUTH_TOKEN=secret"})
	require.Empty(t, setting(project, "TWILIO_BASE_URL"), "empty means Twilio itself")
	require.Equal(t, "secret", setting(project, "TWILIO_AUTH_TOKEN"))
}

func TestEveryRoleHasTheSameConfiguration(t *testing.T) {
	t.Parallel()
	project := load(t, nil, "local")
	api := slices.Sorted(maps.Keys(project.Services["api"].Environment))
	for _, role := range []string{"worker", "migrate"} {
		require.Equal(t, api, slices.Sorted(maps.Keys(project.Services[role].Environment)), role)
	}
}

func TestEveryVariableIsNamedInTheExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join(root, ".env.example"))
	require.NoError(t, err)
	for path, pattern := range map[string]string{
		"docker-compose.yml":        `\$\{([A-Z_]+)`,
		"internal/config/config.go": `p\.\w+\("([A-Z_]+)"`,
		"devstack/stack/ports.go":   `"([A-Z_]+_PORT)"`,
	} {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		names := regexp.MustCompile(pattern).FindAllSubmatch(text, -1)
		require.NotEmpty(t, names, path)
		for _, name := range names {
			require.Regexp(t, `(?m)^(# )?`+string(name[1])+`=`, string(example), path)
		}
	}
}
