package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
)

type importStore interface {
	// CreateImport stores the rows that next gives until io.EOF, and has them processed.
	CreateImport(ctx context.Context, imp intake.Import, next func() (intake.Row, error), now time.Time) (total int, err error)
	Import(ctx context.Context, id uuid.UUID) (intake.Import, error)
	ImportErrors(ctx context.Context, id uuid.UUID, after *int64, atMost int) ([]intake.RowError, error)
}

const (
	shownImportErrors = 20
	maxFileNameBytes  = 200
)

func (s *server) ImportUsers(ctx context.Context, r openapi.ImportUsersRequestObject) (openapi.ImportUsersResponseObject, error) {
	accepted, err := s.acceptImport(ctx, r.Params.DefaultRegion, r.JSONBody, r.MultipartBody)
	return openapi.ImportUsers202JSONResponse(accepted), err
}

// IngestUsers is ImportUsers under its other address.
func (s *server) IngestUsers(ctx context.Context, r openapi.IngestUsersRequestObject) (openapi.IngestUsersResponseObject, error) {
	accepted, err := s.acceptImport(ctx, r.Params.DefaultRegion, r.JSONBody, r.MultipartBody)
	return openapi.IngestUsers202JSONResponse(accepted), err
}

func (s *server) acceptImport(ctx context.Context, givenRegion *string, records *[]json.RawMessage, parts *multipart.Reader) (openapi.ImportAccepted, error) {
	region, err := s.region(givenRegion)
	if err != nil {
		return openapi.ImportAccepted{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return openapi.ImportAccepted{}, fmt.Errorf("import id: %w", err)
	}
	imp := intake.Import{ID: id, Format: intake.JSON, DefaultRegion: region, CreatedBy: principalOf(ctx).Name}
	next := intake.Records(value(records))
	if parts != nil {
		file, release, err := receiveFile(parts, &imp)
		if err != nil {
			return openapi.ImportAccepted{}, err
		}
		defer release()
		reader, err := intake.NewReader(imp.Format, file)
		if err != nil {
			return openapi.ImportAccepted{}, err
		}
		next = reader.Next
	}
	total, err := s.Store.CreateImport(ctx, imp, next, s.Now())
	if err != nil {
		return openapi.ImportAccepted{}, err
	}
	return openapi.ImportAccepted{
		TaskID: id, Message: "Bulk ingestion started",
		FileInfo: openapi.FileInfo{Filename: imp.FileName, RecordsPreview: int64(total)},
	}, nil
}

// receiveFile takes the one file of an upload, and fills in its name and format. It is spooled to disk first: a slow
// upload must not hold a database transaction open. release removes it.
func receiveFile(parts *multipart.Reader, imp *intake.Import) (file io.Reader, release func(), err error) {
	part, err := parts.NextPart()
	if err != nil {
		return nil, nil, broken(err)
	}
	if part.FormName() != "file" {
		return nil, nil, fault.Refuse(part.FormName(), "is not known here; the upload is one part named file")
	}
	imp.FileName = cleanFileName(part.FileName())
	kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if imp.Format = intake.FormatOf(imp.FileName, kind); imp.Format == "" {
		return nil, nil, fault.Refuse("file", "must be named .csv, .json or .jsonl")
	}
	spool, err := os.CreateTemp("", "ese-upload-*")
	if err != nil {
		return nil, nil, fmt.Errorf("upload spool: %w", err)
	}
	release = func() {
		_ = spool.Close()
		_ = os.Remove(spool.Name())
	}
	if err := spoolPart(spool, part, parts); err != nil {
		release()
		return nil, nil, err
	}
	return spool, release, nil
}

func spoolPart(spool *os.File, part *multipart.Part, parts *multipart.Reader) error {
	if _, err := io.Copy(spool, part); err != nil {
		return broken(err)
	}
	if extra, err := parts.NextPart(); err == nil {
		return fault.Refuse(extra.FormName(), "is not known here; the upload is one part named file")
	} else if !errors.Is(err, io.EOF) {
		return broken(err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("upload spool: %w", err)
	}
	return nil
}

// broken keeps the errors that say more than that a multipart body is wrong.
func broken(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	if _, told := errors.AsType[*refusal](err); told {
		return err
	}
	if _, ours := errors.AsType[*os.PathError](err); ours {
		return fmt.Errorf("upload spool: %w", err)
	}
	return refuse(http.StatusBadRequest, "the multipart body cannot be read: it needs a part named file and must be complete")
}

// cleanFileName keeps what is fit to be shown.
func cleanFileName(name string) string {
	if name == "" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return -1
	}, path.Base(strings.ReplaceAll(name, `\`, "/")))
	if extension := path.Ext(name); len(name) > maxFileNameBytes && len(extension) < maxFileNameBytes/2 {
		name = strings.ToValidUTF8(name[:maxFileNameBytes-len(extension)], "") + extension
	}
	return name
}

func (s *server) GetImport(ctx context.Context, r openapi.GetImportRequestObject) (openapi.GetImportResponseObject, error) {
	imp, err := s.Store.Import(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	refused, err := s.Store.ImportErrors(ctx, r.TaskID, nil, shownImportErrors)
	return openapi.GetImport200JSONResponse{
		TaskID: imp.ID, Filename: imp.FileName, Status: openapi.ImportStatus(imp.Status), StatusReason: none(imp.StatusReason),
		Processed: int64(imp.Processed), Succeeded: int64(imp.Succeeded), Failed: int64(imp.Failed),
		DuplicatesMerged: int64(imp.Merged), Total: int64(imp.Total), CreatedAt: imp.CreatedAt, StartedAt: imp.StartedAt,
		CompletedAt: imp.CompletedAt, Errors: each(refused, showRowError),
	}, err
}

func (s *server) ListImportErrors(ctx context.Context, r openapi.ListImportErrorsRequestObject) (openapi.ListImportErrorsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "import errors", r.TaskID)
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	imp, err := s.Store.Import(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	refused, err := s.Store.ImportErrors(ctx, r.TaskID, after, p.fetch())
	refused, next := cut(p, refused, func(e intake.RowError) int { return e.Line })
	return openapi.ListImportErrors200JSONResponse{
		Errors: each(refused, showRowError), NextCursor: next, Total: int64(imp.Failed),
	}, err
}

func showRowError(e intake.RowError) openapi.ImportError {
	return openapi.ImportError{Line: int64(e.Line), Field: e.Field, Detail: e.Detail}
}
