from fcam_tf.addresses import stream_options


def test_addresses_of_the_web_are_read_as_long_as_something_comes():
    options = stream_options("HTTPS://example.com/a.jpg")
    timeout = options["client_kwargs"]["timeout"]
    assert (timeout.total, timeout.sock_read) == (None, 60)
    assert options["block_size"] == 0
    assert "block_size" not in stream_options("http://example.com/a.h5", whole=False)


def test_other_protocols_take_no_options():
    assert stream_options("s3://bucket/a.jpg") == stream_options("file:///a.jpg") == {}
