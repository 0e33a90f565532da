package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

func serve(t *testing.T) (*httptest.Server, *atomic.Bool) {
	t.Helper()
	var draining atomic.Bool
	server := httptest.NewServer(newHandler("pod-1", &draining))
	t.Cleanup(server.Close)
	return server, &draining
}

func TestAnswerTellsTheRequestAsItWasSent(t *testing.T) {
	server, _ := serve(t)
	request, _ := http.NewRequest("PUT", server.URL+"/a%2Fb?c=d", strings.NewReader("hello"))
	request.Host = "shop.example"
	request.Header.Set("X-One", "1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got seen
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Pod != "pod-1" || got.Method != "PUT" || got.Path != "/a%2Fb" || got.Query != "c=d" || got.Host != "shop.example" ||
		got.BodyBytes != 5 || got.Headers["X-One"][0] != "1" || response.Header.Get("X-Pod") != "pod-1" {
		t.Errorf("got %+v", got)
	}
}

func TestWebSocketEchoesEachMessage(t *testing.T) {
	server, _ := serve(t)
	socket, _, err := websocket.Dial(t.Context(), server.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	for _, message := range []string{"one", "two"} {
		if err := socket.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := socket.Read(t.Context()); err != nil || string(got) != message {
			t.Errorf("got %q, %v; want %q", got, err, message)
		}
	}
}

func TestSizesAndStatusesAreThoseAskedFor(t *testing.T) {
	server, draining := serve(t)
	for _, c := range []struct {
		path          string
		status, bytes int
	}{
		{"/bytes?size=70000", 200, 70000}, {"/chunks?n=3&size=5", 200, 15}, {"/status/503", 503, -1}, {"/status/9", 400, -1},
		{"/healthz", 200, 0},
	} {
		response, err := http.Get(server.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.status || c.bytes >= 0 && len(body) != c.bytes {
			t.Errorf("%s: %d, %d bytes, %v", c.path, response.StatusCode, len(body), err)
		}
	}
	draining.Store(true)
	if response, err := http.Get(server.URL + "/healthz"); err != nil || response.StatusCode != 503 {
		t.Errorf("a draining server is healthy: %v", err)
	}
	if _, err := http.Get(server.URL + "/reset"); err == nil {
		t.Error("/reset answered")
	}
}
