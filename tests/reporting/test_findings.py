from repro.reporting.findings import findings


def test_sentences_get_the_figures_of_records_and_are_left_out_without_them(gallery):
    # A figure written by hand would outlive the record that it came from.
    _, entries, _ = gallery
    sentences = [
        "The field is found to {faithful mae/real}, at 24 layers to {faithful mae/deep}.",
        "Refined, to {faithful nothing}.",
        "Elsewhere, to {nowhere mae/real}.",
        "No figure at all.",
    ]
    assert findings(sentences, entries) == [
        "The field is found to 0.124, at 24 layers to 0.243.",
        "No figure at all.",
    ]
