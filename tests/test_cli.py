

def test_a_warning_of_the_readers_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "oh.xyz").write_text("2\nhydroxyl\nO 0 0 0\nH 0 0 0.96\n")
    words = ["compute", "oh.xyz", "--method", "HF", "--basis", "no-such-basis"]
    ended = hpcml(*words, cwd=tmp_path)
    first, *_ = ended.stderr.splitlines()
    assert "oh.xyz, line 2 (hydroxyl): 9 electrons and no charge said" in first
    ended = hpcml(*words, "--charge", "-1", cwd=tmp_path)
    assert "electrons" not in ended.stderr
    assert "no-such-basis" in ended.stderr
