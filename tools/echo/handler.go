package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// bytesMax bounds what one answer may be asked to carry, so that a typing error in a query does not fill the memory.
const bytesMax = 1 << 30

// seen is the answer: the request as the backend saw it.
type seen struct {
	Pod        string              `json:"pod"`
	Method     string              `json:"method"`
	Path       string              `json:"path"`
	Query      string              `json:"query"`
	Host       string              `json:"host"`
	Protocol   string              `json:"protocol"`
	Remote     string              `json:"remote"`
	Headers    map[string][]string `json:"headers"`
	BodyBytes  int64               `json:"body_bytes"`
	BodySHA256 string              `json:"body_sha256"`
}

func newHandler(name string, draining *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer(w, r, name, http.StatusOK) })
	mux.HandleFunc("/ws", echoWebSocket)
	mux.HandleFunc("/bytes", sendBytes)
	mux.HandleFunc("/chunks", sendChunks)
	mux.HandleFunc("/reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		if wait(r.Context(), number(r, "ms", 1000)) {
			answer(w, r, name, http.StatusOK)
		}
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			code = http.StatusBadRequest
		}
		answer(w, r, name, code)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}

func answer(w http.ResponseWriter, r *http.Request, name string, status int) {
	digest := sha256.New()
	length, err := io.Copy(digest, r.Body)
	if err != nil {
		return // the client has gone, or lied about its body: there is nobody to answer
	}
	body, err := json.Marshal(seen{
		Pod: name, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Protocol: r.Proto,
		Remote: r.RemoteAddr, Headers: r.Header, BodyBytes: length, BodySHA256: hex.EncodeToString(digest.Sum(nil)),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Pod", name)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	// Any origin: this is a backend for tests and demonstrations, without state or credentials.
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(1 << 20)
	for {
		kind, message, err := socket.Read(r.Context())
		if err != nil {
			return
		}
		if socket.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func sendBytes(w http.ResponseWriter, r *http.Request) {
	size := number(r, "size", 1024)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.CopyN(w, repeating{}, size)
}

func sendChunks(w http.ResponseWriter, r *http.Request) {
	chunk := bytes.Repeat([]byte("x"), int(number(r, "size", 16)))
	control := http.NewResponseController(w)
	for range number(r, "n", 4) {
		if _, err := w.Write(chunk); err != nil || control.Flush() != nil {
			return
		}
		if !wait(r.Context(), number(r, "pause_ms", 0)) {
			return
		}
	}
}

// number is the query's key as a number between 0 and bytesMax.
func number(r *http.Request, key string, otherwise int64) int64 {
	value, err := strconv.ParseInt(r.URL.Query().Get(key), 10, 64)
	if err != nil || value < 0 {
		return otherwise
	}
	return min(value, bytesMax)
}

// wait tells whether the client was still there after so many milliseconds.
func wait(client context.Context, ms int64) bool {
	select {
	case <-client.Done():
		return false
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return true
	}
}

type repeating struct{}

func (repeating) Read(buffer []byte) (int, error) {
	for i := range buffer {
		buffer[i] = 'x'
	}
	return len(buffer), nil
}

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
