<?php
$kind = $_GET['kind'] ?? '';
switch ($kind) {
    case 'status': http_response_code(418); header('X-One: 1'); header('X-One: 2', false); echo 'teapot'; break;
    case 'redirect': header('Location: /elsewhere'); break;
    case 'none': http_response_code(204); break;
    case 'unmodified': http_response_code(304); break;
    case 'cookies': setcookie('a', '1'); setcookie('b', '2'); echo 'cookies'; break;
    case 'length': header('Content-Length: 5'); echo 'fiver'; break;
    case 'long': echo str_repeat('0123456789abcdef', 20000); break;
    case 'flush': echo 'one'; flush(); echo 'two'; flush(); break;
    case 'stderr': error_log('said on standard error'); echo 'logged'; break;
    case 'fail': http_response_code(500); echo 'failed'; break;
    case 'type': header('Content-Type: application/json'); echo '{}'; break;
    case 'post': echo $_POST['a'] ?? 'nothing', ' ', strlen(file_get_contents('php://input')); break;
    default: echo 'nothing asked';
}
