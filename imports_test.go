package enrollkit_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/enrollkit/enrollkit"

// mayImport says which packages of this module a package's code may import; "/..." covers a whole tree. A package that is not
// listed fails the test, and so does an edge: both are decisions to be made here, with the reason in the commit.
var mayImport = map[string][]string{
	".":            {}, // documentation only
	"internal/...": {"internal/..."},
	"depprofile":   {"internal/..."},
	"storage":      {"internal/..."}, // the floor: it does not know who uses it
	"activity":     {"storage", "internal/..."},
	"abm":          {"depprofile", "storage", "activity", "internal/..."},
	"setupexp":     {"storage", "activity", "internal/..."},
	"autopilot":    {"storage", "activity", "setupexp", "internal/..."},
	"enroll":       {"depprofile", "storage", "activity", "setupexp", "internal/..."}, // not abm

	"setupexp/swiftdialog": {"setupexp", "internal/..."},
	"abm/axm":              {"internal/..."}, // stands alone: it knows neither accounts nor storage
	"abm/depstore":         {"abm", "storage", "internal/..."},
	"enroll/nano":          {"enroll", "setupexp", "storage", "activity", "internal/..."},

	// Backends know the contract and nothing else, least of all each other.
	"storage/memory":      {"storage", "internal/..."},
	"storage/sqlstore":    {"storage", "internal/..."},
	"storage/redisstore":  {"storage", "internal/..."},
	"storage/storagetest": {"storage", "internal/..."},

	// Simulators work from Apple's and Microsoft's documents, never from the package they stand opposite to, so that one
	// mistake is not made twice.
	"abm/abmtest":         {"internal/..."},
	"autopilot/graphtest": {"internal/..."},
	"enroll/enrolltest":   {"internal/..."},
}

// testsMayAlsoImport is what any package's tests may import besides the package itself and what its code may.
var testsMayAlsoImport = []string{
	"abm/abmtest", "autopilot/graphtest", "enroll/enrolltest", "storage/storagetest", "storage/memory", "storage/sqlstore",
}

// testsMayImportAll lists packages whose tests show how the whole fits together.
var testsMayImportAll = []string{"."}

// edge is one import of a package of this module by another; names are relative to the module, "." for its root.
type edge struct {
	file     string
	from, to string
	test     bool
}

// problem says what is wrong with e by the tables above; it is empty if nothing is.
func (e edge) problem() string {
	allowed, listed := lookup(e.from)
	switch {
	case !listed:
		return fmt.Sprintf("%s: package %s is not in the table mayImport", e.file, e.from)
	case e.to == "" || matchesAny(e.to, allowed):
		return ""
	case e.test && (e.to == e.from || matchesAny(e.to, testsMayAlsoImport) || matchesAny(e.from, testsMayImportAll)):
		return ""
	case e.test:
		return fmt.Sprintf("%s: tests of %s may not import %s", e.file, e.from, e.to)
	}
	return fmt.Sprintf("%s: %s may not import %s", e.file, e.from, e.to)
}

// lookup returns the row of pkg: its own, or that of the tree it is in.
func lookup(pkg string) (allowed []string, listed bool) {
	if allowed, listed = mayImport[pkg]; listed {
		return allowed, true
	}
	for pattern, allowed := range mayImport {
		if matchesAny(pkg, []string{pattern}) {
			return allowed, true
		}
	}
	return nil, false
}

func matchesAny(pkg string, patterns []string) bool {
	for _, p := range patterns {
		if tree, ok := strings.CutSuffix(p, "/..."); pkg == p || ok && (pkg == tree || strings.HasPrefix(pkg, tree+"/")) {
			return true
		}
	}
	return false
}

// edges returns the imports of all Go files of the root module, and for each file one edge to "" so that a package
// without imports is seen. Nested modules are not part of it.
func edges(t *testing.T) []edge {
	t.Helper()
	var out []edge
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		e := edge{file: name, from: path.Dir(filepath.ToSlash(name)), test: strings.HasSuffix(name, "_test.go")}
		out = append(out, e)
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if e.to = relative(imported); e.to != "" {
				out = append(out, e)
			}
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

func skipDir(name string) error {
	base := filepath.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// relative returns the name of an imported package within this module, and "" for a package of another.
func relative(imported string) string {
	if imported == modulePath {
		return "."
	}
	rel, ok := strings.CutPrefix(imported, modulePath+"/")
	if !ok {
		return ""
	}
	return rel
}

func TestImportsFollowTheTable(t *testing.T) {
	t.Parallel()
	all := edges(t)
	seen := make(map[string]bool)
	for _, e := range all {
		seen[e.from] = true
		if p := e.problem(); p != "" {
			t.Error(p)
		}
	}
	assert.True(t, seen["."] && seen["storage"] && seen["depprofile"], "the walk missed packages; it saw %v", seen)
	assert.False(t, seen["examples/quickstart"], "nested modules are not walked")
}

func TestImportRulesRefuse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edge edge
		ok   bool
	}{
		{"a listed edge", edge{from: "abm", to: "storage"}, true},
		{"a tree", edge{from: "abm", to: "internal/cms"}, true},
		{"a package inside a tree", edge{from: "internal/a/b", to: "internal/c"}, true},
		{"no import", edge{from: "storage"}, true},
		{"an unknown package", edge{from: "util"}, false},
		{"an unknown package beside a listed one", edge{from: "storage/newstore", to: "storage"}, false},
		{"an arrow that points up", edge{from: "storage", to: "abm"}, false},
		{"internal to a feature", edge{from: "internal/cms", to: "storage"}, false},
		{"enroll to abm", edge{from: "enroll", to: "abm"}, false},
		{"backend to backend", edge{from: "storage/sqlstore", to: "storage/memory"}, false},
		{"a name that only starts like a tree", edge{from: "abm", to: "internals"}, false},
		{"code to a simulator", edge{from: "abm", to: "abm/abmtest"}, false},
		{"test to a simulator", edge{from: "abm", to: "abm/abmtest", test: true}, true},
		{"external test to its package", edge{from: "abm", to: "abm", test: true}, true},
		{"test to a feature above", edge{from: "storage", to: "abm", test: true}, false},
		{"simulator to what it stands opposite to", edge{from: "abm/abmtest", to: "abm"}, false},
		{"its tests neither", edge{from: "abm/abmtest", to: "abm", test: true}, false},
		{"test of the root", edge{from: ".", to: "abm", test: true}, true},
		{"code of the root", edge{from: ".", to: "abm"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.ok, tt.edge.problem() == "", tt.edge.problem())
		})
	}
}

// TestRootModuleNamesNoDriver keeps what a host must be free to choose out of its module graph.
func TestRootModuleNamesNoDriver(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for _, m := range []string{
		"modernc.org/sqlite", "mattn/go-sqlite3", "ncruces/go-sqlite3", "go-sql-driver/mysql", "lib/pq", "jackc/pgx",
		"micromdm/scep", "go-kit/kit", "gorilla/mux", "go-chi/chi", "julienschmidt/httprouter",
	} {
		assert.NotContains(t, string(mod), m, "drivers and servers belong into the nested modules")
	}
}
