import pytest

from pipeline.ids import clip_id_of, file_video_id, short_hash, slug, split_clip_id, video_id_of


def test_a_native_id_keeps_its_case_and_the_extractor_loses_it():
    assert video_id_of("Youtube", "dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcQ") == "youtube-dQw4w9WgXcQ"
    assert video_id_of("Youtube", "-_a", "u") == "youtube--_a"


@pytest.mark.parametrize("native", ["a.b", "a/b", "../../etc", "ü", "", None, "x" * 65, "a b", "a\n", "🎮"])
def test_a_native_id_outside_the_alphabet_gives_way_to_a_hash_of_the_url(native: str | None):
    video_id = video_id_of("Some Site", native, "https://example.org/1")
    assert video_id == f"some-site-{short_hash('https://example.org/1', 16)}"


def test_generic_pages_of_equal_names_do_not_collide():
    first = video_id_of("Generic", "video", "https://a.example/video.mp4")
    second = video_id_of("Generic", "video", "https://b.example/video.mp4")
    assert first != second
    assert first.startswith("generic-")


def test_a_file_of_the_same_name_in_another_folder_is_another_video():
    assert file_video_id("a/Level 1.mp4") != file_video_id("b/Level 1.mp4")
    assert file_video_id("a/Level 1.mp4").startswith("folder-Level-1-")
    assert file_video_id("日本.mp4").startswith("folder-")


def test_a_slug_is_short_and_folds_accents():
    assert slug("Pokémon: Édition / Rouge!") == "Pokemon-Edition-Rouge"
    assert slug("x" * 99) == "x" * 40
    assert slug("../..") == ""


def test_a_clip_id_leads_back_to_its_video_and_span():
    clip_id = clip_id_of("youtube-a-b_c", 16000, "0a1b2c3d")
    assert clip_id == "youtube-a-b_c-000016000-0a1b2c3d"
    assert split_clip_id(clip_id) == ("youtube-a-b_c", 16000, "0a1b2c3d")


@pytest.mark.parametrize("text", ["", "youtube-abc", "youtube-abc-16000-0a1b2c3d", "youtube-abc-000016000-XYZ", "a\n"])
def test_an_id_of_another_form_is_refused_by_name(text: str):
    with pytest.raises(ValueError, match="is not of the form"):
        split_clip_id(text)


def test_a_title_with_half_an_emoji_has_a_hash_all_the_same():
    assert len(short_hash("\ud83d")) == 12
