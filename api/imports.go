package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strconv"
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
	maxMappingBytes   = 8 << 10
)

func (s *server) ImportUsers(ctx context.Context, r openapi.ImportUsersRequestObject) (openapi.ImportUsersResponseObject, error) {
	accepted, err := s.acceptImport(ctx, r.Params, r.JSONBody, r.MultipartBody)
	return openapi.ImportUsers202JSONResponse(accepted), err
}

// IngestUsers is ImportUsers under its other address.
func (s *server) IngestUsers(ctx context.Context, r openapi.IngestUsersRequestObject) (openapi.IngestUsersResponseObject, error) {
	accepted, err := s.acceptImport(ctx, openapi.ImportUsersParams(r.Params), r.JSONBody, r.MultipartBody)
	return openapi.IngestUsers202JSONResponse(accepted), err
}

func (s *server) acceptImport(ctx context.Context, p openapi.ImportUsersParams, records *[]json.RawMessage, parts *multipart.Reader) (openapi.ImportAccepted, error) {
	imp := intake.Import{
		Format: intake.JSON, Policy: intake.Policy(value(p.Policy)), DryRun: value(p.DryRun), Invite: value(p.Invite), CreatedBy: principalOf(ctx).Name,
	}
	var err error
	if imp.DefaultRegion, err = s.region(p.DefaultRegion); err != nil {
		return openapi.ImportAccepted{}, err
	}
	if imp.Mapping, err = intake.ParseMapping(json.RawMessage(value(p.Mapping))); err != nil {
		return openapi.ImportAccepted{}, err
	}
	if imp.ID, err = uuid.NewV7(); err != nil {
		return openapi.ImportAccepted{}, fmt.Errorf("import id: %w", err)
	}
	next := intake.Records(value(records))
	if parts != nil {
		file, err := receive(parts, &imp)
		if err != nil {
			return openapi.ImportAccepted{}, err
		}
		defer file.release()
		reader, err := intake.Open(&imp, file)
		if err != nil {
			return openapi.ImportAccepted{}, err
		}
		defer func() { _ = reader.Close() }()
		next = reader.Next
	}
	total, err := s.Store.CreateImport(ctx, imp, next, s.Now())
	if err != nil {
		return openapi.ImportAccepted{}, err
	}
	return openapi.ImportAccepted{
		TaskID: imp.ID, Message: "Bulk ingestion started",
		FileInfo: openapi.FileInfo{Filename: imp.FileName, RecordsPreview: int64(total)},
	}, nil
}

// upload is a file on its way in. It is spooled to disk first: a slow upload must not hold a database transaction open, and
// some formats are read more than once.
type upload struct {
	*os.File
	size int64
}

func (u *upload) Size() int64 { return u.size }

func (u *upload) release() {
	_ = u.Close()
	_ = os.Remove(u.Name())
}

const knownParts = "is not known here; the upload is a part named file, and one named mapping where columns are mapped"

// receive takes the parts of an upload: its one file, and its mapping if there is one. It fills in the import's file name,
// format and mapping. The caller releases the file.
func receive(parts *multipart.Reader, imp *intake.Import) (file *upload, err error) {
	defer func() {
		if err != nil && file != nil {
			file.release()
		}
	}()
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			if file == nil {
				return nil, broken(err)
			}
			return file, nil
		case err != nil:
			return file, broken(err)
		case part.FormName() == "file" && file == nil:
			if file, err = receiveFile(part, imp); err != nil {
				return file, err
			}
		case part.FormName() == "mapping" && imp.Mapping == nil:
			text, err := io.ReadAll(io.LimitReader(part, maxMappingBytes+1))
			if err != nil {
				return file, broken(err)
			}
			if len(text) > maxMappingBytes {
				return file, fault.Refuse("mapping", "is too long: at most %d bytes", maxMappingBytes)
			}
			if imp.Mapping, err = intake.ParseMapping(text); err != nil {
				return file, err
			}
		case part.FormName() == "file", part.FormName() == "mapping":
			return file, fault.Refuse(part.FormName(), "must be given once")
		default:
			return file, fault.Refuse(part.FormName(), knownParts)
		}
	}
}

func receiveFile(part *multipart.Part, imp *intake.Import) (*upload, error) {
	imp.FileName = cleanFileName(part.FileName())
	kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if imp.Format = intake.FormatOf(imp.FileName, kind); imp.Format == "" {
		return nil, fault.Refuse("file", "must be named .csv, .xlsx, .json or .jsonl")
	}
	return spooled(part)
}

// spooled takes a part to disk. There may be something to release even with an error.
func spooled(part *multipart.Part) (*upload, error) {
	spool, err := os.CreateTemp("", "ese-upload-*")
	if err != nil {
		return nil, fmt.Errorf("upload spool: %w", err)
	}
	file := &upload{File: spool}
	if file.size, err = io.Copy(spool, part); err != nil {
		return file, broken(err)
	}
	return file, nil
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
	imp, err := s.showImport(ctx, r.TaskID)
	return openapi.GetImport200JSONResponse(imp), err
}

// ReadImport is GetImport under its other address.
func (s *server) ReadImport(ctx context.Context, r openapi.ReadImportRequestObject) (openapi.ReadImportResponseObject, error) {
	imp, err := s.showImport(ctx, r.TaskID)
	return openapi.ReadImport200JSONResponse(imp), err
}

func (s *server) showImport(ctx context.Context, id uuid.UUID) (openapi.Import, error) {
	imp, err := s.Store.Import(ctx, id)
	if err != nil {
		return openapi.Import{}, err
	}
	refused, err := s.Store.ImportErrors(ctx, id, nil, shownImportErrors)
	if err != nil {
		return openapi.Import{}, err
	}
	shown := openapi.Import{
		TaskID: imp.ID, Filename: imp.FileName, Status: openapi.ImportStatus(imp.Status), StatusReason: none(imp.StatusReason),
		Policy: openapi.ImportPolicy(imp.Policy), DryRun: imp.DryRun,
		Processed: int64(imp.Processed), Succeeded: int64(imp.Succeeded), Failed: int64(imp.Failed), Skipped: int64(imp.Skipped),
		DuplicatesMerged: int64(imp.Merged), Total: int64(imp.Total), CreatedAt: imp.CreatedAt, StartedAt: imp.StartedAt,
		CompletedAt: imp.CompletedAt, Errors: each(refused, showRowError),
	}
	if rate, left := imp.Rate(s.Now()); rate > 0 {
		shown.RowsPerSecond, shown.SecondsLeft = &rate, ptr(int64(math.Ceil(left.Seconds())))
	}
	return shown, nil
}

func (s *server) ExportImportErrors(ctx context.Context, r openapi.ExportImportErrorsRequestObject) (openapi.ExportImportErrorsResponseObject, error) {
	if _, err := s.Store.Import(ctx, r.TaskID); err != nil {
		return nil, err
	}
	x := &download{}
	x.writePlainCSV("line", "field", "reason", "original")
	var after *int64
	x.page = func() (bool, error) {
		refused, err := s.Store.ImportErrors(ctx, r.TaskID, after, exportPage)
		for _, e := range refused {
			after = ptr(int64(e.Line))
			x.writeCSV(strconv.Itoa(e.Line), e.Field, e.Detail, e.Text)
		}
		return len(refused) < exportPage, err
	}
	if err := x.more(); err != nil {
		return nil, err
	}
	return openapi.ExportImportErrors200TextCsvResponse{
		Body: x, Headers: openapi.ExportImportErrors200ResponseHeaders{ContentDisposition: attachment("import-" + r.TaskID.String() + "-errors.csv")},
	}, nil
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
