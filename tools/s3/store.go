package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"io"
	"sort"
	"sync"
	"time"

	"github.com/rclone/gofakes3"
)

// store is one bucket in memory, with as much of a store as the tests ask for.
type store struct {
	gofakes3.Backend // what is not here is not asked for
	bucket           string
	mutex            sync.Mutex
	objects          map[string][]byte
}

func (s *store) ListBuckets(context.Context) ([]gofakes3.BucketInfo, error) {
	return []gofakes3.BucketInfo{{Name: s.bucket, CreationDate: gofakes3.NewContentTime(time.Now())}}, nil
}

func (s *store) BucketExists(_ context.Context, name string) (bool, error) {
	return name == s.bucket, nil
}

func (s *store) ListBucket(_ context.Context, _ string, prefix *gofakes3.Prefix, _ gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	keys := make([]string, 0, len(s.objects))
	for key := range s.objects {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	list := gofakes3.NewObjectList()
	for _, key := range keys {
		var match gofakes3.PrefixMatch
		if prefix != nil && !prefix.Match(key, &match) {
			continue
		}
		list.Add(&gofakes3.Content{Key: key, Size: int64(len(s.objects[key])), LastModified: gofakes3.NewContentTime(time.Now())})
	}
	return list, nil
}

func (s *store) GetObject(_ context.Context, _, name string, _ *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	content, found := s.objects[name]
	if !found {
		return nil, gofakes3.KeyNotFound(name)
	}
	sum := md5.Sum(content)
	return &gofakes3.Object{
		Name:     name,
		Metadata: map[string]string{"Last-Modified": time.Now().UTC().Format(time.RFC1123)},
		Size:     int64(len(content)),
		Contents: io.NopCloser(bytes.NewReader(content)),
		Hash:     sum[:],
	}, nil
}

func (s *store) HeadObject(ctx context.Context, bucket, name string) (*gofakes3.Object, error) {
	return s.GetObject(ctx, bucket, name, nil)
}

func (s *store) PutObject(_ context.Context, _, key string, _ map[string]string, input io.Reader, _ int64) (gofakes3.PutObjectResult, error) {
	content, err := io.ReadAll(input)
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.objects[key] = content
	return gofakes3.PutObjectResult{}, nil
}

func (s *store) DeleteObject(_ context.Context, _, name string) (gofakes3.ObjectDeleteResult, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.objects, name)
	return gofakes3.ObjectDeleteResult{}, nil
}
