"""The directory that file servers of both sides serve: names, links, sidecars, all with fixed times."""

import gzip
import os
import stat

FILES = {
    "index.html": b"<h1>home</h1>\n",
    "a.txt": b"0123456789" * 10,
    "empty.txt": b"",
    "README": b"no extension\n",
    "UPPER.PNG": b"png",
    "odd.unknownext": b"odd\n",
    "with space.txt": b"space\n",
    "caf\u00e9.txt": b"accent\n",
    "per%cent.txt": b"percent\n",
    "star[1].txt": b"star\n",
    ".dot": b"dot\n",
    "hidden.bak": b"hidden\n",
    "secret/key.txt": b"key\n",
    "dir/one.txt": b"1\n",
    "dir/two.md": b"22\n",
    "dir/sub/three.css": b"body{}\n",
    "docs/index.html": b"<h1>docs</h1>\n",
    "texts/index.txt": b"index of texts\n",
    "big.bin": bytes(range(256)) * 2048,
    "app.js": b"plain script\n" * 20,
    "app.js.gz": gzip.compress(b"gzip bytes", mtime=0),
    "app.js.br": b"brotli",
    "app.js.zst": b"zstandard bytes",
    "style.css": b"a{}\n" * 20,
    "style.css.gz": gzip.compress(b"gzip of style", mtime=0),
    "tagged.txt": b"tagged\n",
    "tagged.txt.etag": b'"from-a-file"\n',
    "app/main.php": b"<?php\n",
    "unreadable.txt": b"x\n",
    "epoch.txt": b"from 1970\n",
    "pages/plain.html": b"<p>{{ add 1 2 }} {{ .Req.URL.Path }}</p>\n",
    "pages/include.html": b'A {{ include "/pages/args.html" .Host 5 }} B\n',
    "pages/args.html": b"[{{ range .Args }}{{ . }};{{ end }}]",
    "pages/import.html": b'{{ import "/pages/parts.html" }}{{ template "part" "x" }}\n',
    "pages/parts.html": b'{{ define "part" }}<{{ . }}>{{ end }}',
    "pages/post.md": b"---\ntitle: Post\n---\n{{ .Host }}\n",
    "pages/code.css": b'a{content: "{{ 1 }}"}\n',
    "pages/loop.html": b'{{ include "/pages/loop.html" }}',
    "pages/trim.html": b"a\n{{- range list 1 2 }}\n  {{ . -}}\n{{ end -}}\n\nb\n",
    "pages/remote.html": b'<{{ httpInclude "/inner/echo" }}>',
    "pages/latin.html": b"caf\xe9 {{ 1 }}\n",
}
TIME_S = 1_700_000_000


def make_tree(folder):
    """Fill a folder with the files above, links, a pipe, and a directory that nobody may read."""
    for number, (name, content) in enumerate(FILES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(0, (TIME_S + number) * 10**9 + 123_456_789))
    os.utime(folder / "epoch.txt", (0, 0))
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "outside").symlink_to("/usr/share")
    (folder / "broken").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "linked").symlink_to("dir")
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP)
            os.utime(path, (TIME_S, TIME_S))
    os.utime(folder, (TIME_S, TIME_S))
