# The product's one binary, `ese`, in an image without a shell, run as nobody
# in particular. docker-compose.yml starts its roles.

# Styles and scripts of the pages, from pinned npm packages.
FROM node:20-bookworm-slim AS assets
WORKDIR /src/api/ui
COPY api/ui/package.json api/ui/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY api/ui ./
RUN npm run build && rm -rf node_modules

FROM golang:1.26-bookworm AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=assets /src/api/ui api/ui
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=${VERSION}" -o /out/ese ./cmd/ese \
    && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/ese /ese
COPY --from=build --chown=nonroot:nonroot /out/data /data
EXPOSE 8000
ENTRYPOINT ["/ese"]
CMD ["api"]
