"""Object storage by URL (`s3://`, `gs://`): what lies there, fetched and put whole."""
