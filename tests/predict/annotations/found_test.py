from fcam_tf.predict.annotations.found import utf8, xml_text


def test_what_there_is(results):
    assert results.root == "/photos"
    assert results.classes == {3: "dog & <wolf>", 7: "tabby, tabby cat"}  # none without a box
    assert results.model == "net layercam"
    assert [len(photo.objects) for photo in results] == [2, 0, 1]
    names = [results.relative(photo) for photo in results]
    assert names == ["my cat.jpg", "sub/猫.png", "out/inputs/z.zip/é\udce9.v2.jpg"]
    assert next(iter(results)).objects[0].size == (20, 40)


def test_classes_without_names(tmp_path, make):
    write, record, found = make
    results = write(tmp_path, record("/a/b.jpg", "b", found(4, None, 1.0, [0, 0, 1, 1])))
    assert results.classes == {4: "class 4"}
    assert results.root == "/a"


def test_of_no_photo(empty):
    assert results_of(empty) == ({}, [])
    assert empty.root == str(empty.folder)


def results_of(results):
    return results.classes, list(results)


def test_texts():
    assert utf8("猫\udce9\x07") == "猫\\udce9\x07"
    assert xml_text("猫 \udce9\x07\ufffe\n") == "猫 \\udce9\\x07\\ufffe\n"
