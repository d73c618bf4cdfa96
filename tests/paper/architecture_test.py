import itertools

import pytest

from fcam_tf.paper.architecture import Block, describe


def test_resnet50_is_that_of_the_paper():
    # Supplement, table 4, and the exact counts of its layers.
    found = describe("resnet50")
    assert found.classifier == 23_508_032 + 409_800
    assert found.head == 2048 * 200 + 200
    assert (found.decoder, found.last) == (9_012_928, 9 * 16 * 2 + 2)
    assert found.top == (28, 28, 2048)
    assert found.output == (224, 224, 2)
    assert found.blocks == (
        Block("block1", (28, 28, 2048), False, (28, 28, 1024), (28, 28, 256), 7_668_736),
        Block("block2", (28, 28, 256), False, (28, 28, 512), (28, 28, 128), 1_032_704),
        Block("block3", (28, 28, 128), True, (56, 56, 256), (56, 56, 64), 258_304),
        Block("block4", (56, 56, 64), True, (112, 112, 64), (112, 112, 32), 46_208),
        Block("block5", (112, 112, 32), True, None, (224, 224, 16), 6_976),
    )


def test_vgg16_has_a_center():
    found = describe("vgg16")
    assert found.classifier == 19_639_304
    assert (found.decoder, found.last) == (23_119_616, 1_154)
    center, first, second, last = found.blocks
    assert center == Block("center", (28, 28, 1024), False, None, (28, 28, 1024), 18_878_464)
    assert first == Block("block1", (28, 28, 1024), True, (56, 56, 256), (56, 56, 256), 3_539_968)
    assert (second.skip, last.skip, last.output) == ((112, 112, 128), None, (224, 224, 64))


def test_inceptionv3_keeps_the_sizes_of_its_odd_maps():
    found = describe("inceptionv3")
    assert (found.classifier, found.decoder) == (25_687_976, 5_704_384)
    assert found.top == (29, 29, 1024)
    weights = [block.parameters for block in found.blocks]
    assert weights == [4_719_616, 774_656, 156_928, 46_208, 6_976]
    # 29 is doubled to 58 and fitted to the skip's 57, and that to 114 and the skip's 112.
    assert [block.output[0] for block in found.blocks] == [29, 29, 57, 112, 224]


@pytest.mark.parametrize("size", [64, 96])
def test_a_tiny_backbone_by_hand(tiny_backbone, size):
    found = describe(tiny_backbone, 3, output_stride=16, size=size)
    widths = (3, 8, 16, 24, 96, 512)
    pairs = itertools.pairwise(widths)
    convolutions = sum(9 * a * b + b + 2 * b for a, b in pairs)  # bias; scale and shift
    assert found.head == 512 * 3 + 3
    assert found.classifier == convolutions + found.head
    assert found.top == (size // 16, size // 16, 512)
    first, *_, last = found.blocks
    assert (first.doubled, first.skip) == (False, (size // 16, size // 16, 96))
    assert first.parameters == 9 * (512 + 96) * 8 + 9 * 8 * 8 + 2 * 2 * 8
    assert (last.doubled, last.skip, last.output) == (True, None, (size, size, 4))
    assert found.decoder == sum(block.parameters for block in found.blocks)


def test_unknown_backbone():
    with pytest.raises(ValueError, match="`backbone` is unknown: 'vgg61'"):
        describe("vgg61")
