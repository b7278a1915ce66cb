package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// List is a file of people to import, and what an import of it has to come to.
type List struct {
	Path   string
	Rows   int
	Bad    int // rows with a number that is none
	Again  int // rows about somebody whom an earlier row named, with another consent
	People int
	OptIn  int // people whose last row says so
}

// Every so many-th row is bad, or is about the person of an earlier row.
const (
	badEvery   = 1000
	againEvery = 500
)

// WriteList writes a CSV file of so many rows into dir: people of four countries, two of which share their code with
// others, in no order.
func WriteList(dir string, rows int) (list List, err error) {
	list = List{Path: filepath.Join(dir, fmt.Sprintf("people-%d.csv", rows)), Rows: rows}
	f, err := os.Create(list.Path)
	if err != nil {
		return list, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString("phone_number,name,city,age,vip,tier,consent_state\n") // Flush tells of errors
	cities := []string{"Colombo", "Kandy", "Galle", "Jaffna", "Matara", "Negombo", "Toronto", "San Francisco", "London", "Pune"}
	const stride = 15_485_863 // prime: every row once, neighbours far apart
	for i := range rows {
		person, consent := i*stride%rows, "OPT_IN"
		switch {
		case i%badEvery == badEvery-1:
			_, _ = fmt.Fprintf(w, "12-%d,Person %d,Nowhere,1,false,none,OPT_IN\n", person, person)
			list.Bad++
			continue
		case i%againEvery == againEvery/2: // the first row was about number 0
			person, consent = 0, "OPT_OUT"
			list.Again++
		}
		_, _ = fmt.Fprintf(w, "%s,Person %d,%s,%d,%t,tier-%d,%s\n", listNumber(person), person, cities[person%len(cities)], 18+person%70,
			person%9 == 0, person%4, consent)
	}
	list.People = rows - list.Bad - list.Again
	list.OptIn = list.People
	if list.Again > 0 {
		list.OptIn--
	}
	if err := w.Flush(); err != nil {
		return list, err
	}
	return list, f.Close()
}

func listNumber(i int) string {
	return fmt.Sprintf([]string{"+9477%07d", "+1415%07d", "+4474%08d", "+9198%08d"}[i%4], 2_000_000+i)
}

// Progress is how far an import is.
type Progress struct {
	ID               string    `json:"task_id"`
	Status           string    `json:"status"`
	StatusReason     string    `json:"status_reason"`
	Processed        int       `json:"processed"`
	Succeeded        int       `json:"succeeded"`
	Failed           int       `json:"failed"`
	DuplicatesMerged int       `json:"duplicates_merged"`
	Total            int       `json:"total"`
	StartedAt        time.Time `json:"started_at"`
	CompletedAt      time.Time `json:"completed_at"`
}

// Upload sends a list to be imported and returns the import's id.
func (s *Stack) Upload(ctx context.Context, list List, query string) (id string, err error) {
	f, err := os.Open(list.Path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		part, err := form.CreateFormFile("file", filepath.Base(list.Path))
		if err == nil {
			_, err = io.Copy(part, f)
		}
		if err == nil {
			err = form.Close()
		}
		_ = w.CloseWithError(err)
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/api/v1/users/bulk?"+query, r)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("upload: %d: %s", resp.StatusCode, raw)
	}
	var accepted Progress
	err = json.Unmarshal(raw, &accepted)
	return accepted.ID, err
}

// ImportProgress reads how far an import is.
func (s *Stack) ImportProgress(ctx context.Context, id string) (p Progress, err error) {
	err = Call(ctx, http.MethodGet, s.URL()+"/api/v1/imports/"+id, nil, &p)
	return p, err
}

// AwaitImport waits until an import has done so many rows, or is over.
func (s *Stack) AwaitImport(ctx context.Context, id string, rows int) (p Progress, err error) {
	err = Until(ctx, 100*time.Millisecond, func() (bool, error) {
		p, err = s.ImportProgress(ctx, id)
		if err == nil && p.Status == "FAILED" {
			err = fmt.Errorf("the import failed: %s", p.StatusReason)
		}
		return p.Status == "COMPLETED" || rows > 0 && p.Processed >= rows, err
	})
	return p, err
}
