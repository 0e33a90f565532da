<?php echo "index ", $_SERVER["PATH_INFO"] ?? "-", " ", $_SERVER["REQUEST_URI"], " ", $_SERVER["SCRIPT_NAME"];
