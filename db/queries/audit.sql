-- name: AuditInsert :exec
INSERT INTO audit_events (principal, action, subject, detail, created_at)
VALUES (@principal, @action, @subject, @detail, @now);
