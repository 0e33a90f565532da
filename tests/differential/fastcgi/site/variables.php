<?php
// Says what the script was told, sorted; fields that differ by design are left to the test.
header('Content-Type: text/plain; charset=utf-8');
ksort($_SERVER);
foreach ($_SERVER as $name => $value) {
    if (is_string($value) && !in_array($name, ['PHP_SELF', 'FCGI_ROLE', 'HOME', 'USER', 'PATH', 'PWD'])) {
        echo "$name=$value\n";
    }
}
echo "\n" . file_get_contents('php://input');
