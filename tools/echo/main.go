// Command echo is the demo backend: it answers every request with what it saw of it, as JSON.
//
// Paths with a meaning of their own:
//
//	/ws                    WebSocket: echoes each message
//	/slow?ms=N             answers after N milliseconds
//	/chunks?n=N&size=S     N chunks of S bytes each, flushed one by one; &pause_ms=P between them
//	/bytes?size=S          S bytes with a Content-Length
//	/status/CODE           answers with that status
//	/upload                reads the body and tells its length and SHA-256
//	/reset                 closes the connection without an answer
//	/healthz               200 while serving, 503 once SIGTERM came
//
// On SIGTERM it goes on serving for -drain, as a Pod must until every proxy knows that it leaves; then it ends gracefully.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	address := flag.String("listen", ":8080", "address to listen on")
	name := flag.String("name", defaultName(), "name to answer with (default: $POD_NAME, else the host name)")
	drain := flag.Duration("drain", 5*time.Second, "how long to go on serving after SIGTERM")
	useTLS := flag.Bool("tls", false, "serve HTTPS with a self-signed certificate made at start")
	flag.Parse()

	var draining atomic.Bool
	server := &http.Server{
		Handler:           newHandler(*name, &draining),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("echo: %v", err)
	}
	if *useTLS {
		certificate, err := selfSigned(*name)
		if err != nil {
			log.Fatalf("echo: %v", err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Printf("echo: %s listens on %s", *name, listener.Addr())

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-ended:
		log.Fatalf("echo: %v", err)
	case reason := <-stop:
		draining.Store(true)
		if reason == syscall.SIGTERM {
			time.Sleep(*drain)
		}
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatalf("echo: %v", err)
	}
}

func defaultName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "echo"
	}
	return name
}
