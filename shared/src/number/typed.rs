//! Numbers as they are typed, pasted and linked, brought to ASCII as far as their meaning is certain.

use percent_encoding::percent_decode_str;
use unicode_general_category::{GeneralCategory, get_general_category};

const SCHEME: &str = "tel:";
/// What full-width characters are ahead of their ASCII ones.
const FULL_WIDTH: u32 = 0xfee0;
/// Marks of numbers that East Asian keyboards type in full width.
const MARKS: &str = "+*#()./;";

/// The same text with ASCII's own digit, space and dash for every digit, space and dash of Unicode, and without the characters
/// that nobody sees. What else a text may be is left to who reads it.
pub fn plain(text: &str) -> String {
    text.chars().filter_map(plain_character).collect()
}

/// The number of a `tel:` link (RFC 3966), or the text itself, in ASCII. Parameters such as `;ext=` stay: to leave them out would
/// be to call somebody else.
pub(super) fn number_in(typed: &str) -> String {
    let text = plain(typed);
    let text = text.trim();
    match text.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => {
            let rest = &text[SCHEME.len()..];
            let rest = plain(&percent_decode_str(rest).decode_utf8().unwrap_or(rest.into()));
            rest.strip_prefix("//").unwrap_or(&rest).trim().to_owned()
        }
        _ => text.to_owned(),
    }
}

/// A character for a message: by its code point, and as it looks if it can be seen.
pub(super) fn shown(character: char) -> String {
    let code_point = format!("U+{:04X}", u32::from(character));
    // Escaped for debugging is what does not print; quotes and the backslash are, too.
    let visible = character.escape_debug().count() == 1 || "\"'\\".contains(character);
    if visible { format!("`{character}` ({code_point})") } else { format!("`{code_point}`") }
}

fn plain_character(character: char) -> Option<char> {
    if character.is_ascii_graphic() {
        return Some(character);
    }
    match get_general_category(character) {
        GeneralCategory::Format => None,
        GeneralCategory::DashPunctuation => Some('-'),
        GeneralCategory::DecimalNumber => Some(digit(character)),
        _ => match character {
            // Variation selectors, which follow what was copied together with emoji.
            '\u{fe00}'..='\u{fe0f}' => None,
            '\u{2212}' => Some('-'), // The minus sign.
            '\u{ff01}'..='\u{ff5e}' => {
                let narrow = char::from_u32(u32::from(character) - FULL_WIDTH).filter(|mark| MARKS.contains(*mark));
                narrow.or(Some(character))
            }
            space if space.is_whitespace() => Some(' '),
            other => Some(other),
        },
    }
}

/// The value of a decimal digit. Unicode keeps the ten digits of a script together, from zero to nine.
fn digit(character: char) -> char {
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|before| get_general_category(before) == GeneralCategory::DecimalNumber)
    };
    let before = (0..u32::from(character)).rev().take_while(|code| is_digit(*code)).count();
    char::from(b'0' + (before % 10) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::DialString;

    #[test]
    fn digits_spaces_and_dashes_of_all_scripts_are_those_of_ascii() {
        assert_eq!(plain("４２ ٤٢ ۴۲ ४२ 𝟒𝟐 𝟘𝟡"), "42 42 42 42 42 09");
        assert_eq!(plain("\u{202a}+32\u{a0}472\u{2011}59\u{ad}16\u{200b}87\u{202c}\u{feff}"), "+32 472-591687");
        assert_eq!(plain("（４２）＋＊＃．／"), "(42)+*#./");
        assert_eq!(plain("1\t2\r\n3\u{2028}4\u{85}5−6☎\u{fe0f}"), "1 2  3 4 5-6☎");
        // Letters stay what they are, so that a message shows them as they were typed.
        assert_eq!(plain("Ｔ²é"), "Ｔ²é");
    }

    #[test]
    fn a_link_is_the_number_in_it() {
        for link in
            ["tel:+32-472-59-16-87", "TEL:%2B32%20472%C2%A0591687", " tel://+32(472)591687", "\u{200e}tel:+32472591687"]
        {
            let number = DialString::parse(link).map(|number| number.as_str().to_owned());
            assert_eq!(number, Ok("+32472591687".to_owned()), "{link}");
        }
        assert_eq!(number_in("tel:%ff"), "%ff");
        assert_eq!(number_in("tel:"), "");
    }

    #[test]
    fn a_character_is_named_and_shown_if_it_can_be_seen() {
        let cases = [('T', "`T` (U+0054)"), ('é', "`é` (U+00E9)"), ('\'', "`'` (U+0027)"), ('\u{7}', "`U+0007`")];
        let more = [('\u{301}', "`U+0301`"), ('\u{e000}', "`U+E000`"), ('☎', "`☎` (U+260E)"), ('\u{0}', "`U+0000`")];
        for (character, expected) in cases.into_iter().chain(more) {
            assert_eq!(shown(character), expected);
        }
    }

    /// Characters that separate or are not seen, by their own lists of Unicode rather than by the code that is tested.
    fn noise() -> impl Strategy<Value = String> {
        let all = (0..=0x10_ffff_u32).filter_map(char::from_u32).filter(|character| {
            use GeneralCategory as Category;
            let category = get_general_category(*character);
            matches!(category, Category::Format | Category::SpaceSeparator | Category::DashPunctuation)
                || "\t\n\r./()".contains(*character)
        });
        prop::collection::vec(prop::sample::select(all.collect::<Vec<char>>()), 0..4)
            // What stands in parentheses alone may be the national zero.
            .prop_map(|noise| noise.into_iter().filter(|character| *character != '(').collect())
    }

    fn written(digit: char, script: usize) -> char {
        let zeros = ['0', '０', '٠', '۰', '०', '𝟎', '𝟘'];
        char::from_u32(u32::from(zeros[script % zeros.len()]) + u32::from(digit) - u32::from('0')).unwrap_or(digit)
    }

    proptest! {
        #[test]
        fn every_way_of_writing_a_number_is_the_same_number(
            plus: bool,
            link: bool,
            digits in "[0-9]{1,20}",
            scripts in prop::collection::vec(0..7_usize, 20),
            noises in prop::collection::vec(noise(), 22),
        ) {
            let lead = if plus { "+" } else { "" };
            let mut text = format!("{}{}{}{lead}", noises[20], if link { "tel:" } else { "" }, noises[21]);
            for ((digit, script), noise) in digits.chars().zip(&scripts).zip(&noises) {
                text.push(written(digit, *script));
                text.push_str(noise);
            }
            // Only what nobody sees may stand in front of a link.
            prop_assume!(!link || plain(&noises[20]).trim().is_empty());
            let number = DialString::parse(&text).map(|number| number.as_str().to_owned());
            prop_assert_eq!(number, Ok(format!("{lead}{digits}")), "{:?}", text);
        }

        #[test]
        fn whatever_is_dialled_was_typed_and_nothing_panics(text: String) {
            if let Ok(number) = DialString::parse(&text) {
                let rest = number.as_str().strip_prefix('+').unwrap_or(number.as_str());
                prop_assert!(!rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || "*#".contains(c)));
                prop_assert_eq!(DialString::parse(number.as_str()), Ok(number.clone()));
            }
            for character in text.chars() {
                let code_point = format!("U+{:04X}", u32::from(character));
                prop_assert!(shown(character).contains(&code_point));
            }
        }

        #[test]
        fn letters_and_parameters_are_refused(number in "\\+?[0-9]{2,9}", rest in "[A-Za-z;=,&_~!?@%]") {
            for text in [format!("{number}{rest}"), format!("tel:{number};ext={rest}")] {
                prop_assert!(DialString::parse(&text).is_err(), "{}", text);
            }
        }
    }
}
