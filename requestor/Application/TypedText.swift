import Datasets
import NeuralNetwork
import Tensors

/// A text that somebody types for a model that says something of a whole text, in place of a file.
public struct TypedText: Sendable {
    public enum End: String, Sendable { case front, behind }

    public var text: String
    /// Where tokens are added to a shorter text; of a longer one those at this end are left out.
    public var filled: End
    /// Blanks are added; else the token 0, as arrays are filled with zeros.
    public var fillsWithBlanks: Bool
    /// The tokens are the bytes of the text, whatever the model calls them.
    public var isBytes: Bool

    public init(_ text: String, filled: End = .behind, fillsWithBlanks: Bool = false, isBytes: Bool = false) {
        self.text = text
        self.filled = filled
        self.fillsWithBlanks = fillsWithBlanks
        self.isBytes = isBytes
    }

    /// As one example `[1, length]` of a model of so many tokens, and what was decided.
    func example(
        length: Int, tokens: Int, _ vocabulary: TokenNames
    ) throws(DeMLError) -> (x: Tensor, note: Decision) {
        let names = isBytes ? TokenNames.bytes : vocabulary
        var ids = try names.ids(of: text)
        if let id = ids.first(where: { $0 >= tokens }) {
            throw DeMLError(.outOfRange, "the token \(id) is none that the model knows: it has \(tokens)")
        }
        guard !ids.isEmpty else { throw DeMLError(.missing, "there is no text") }
        var filler: Int32 = 0
        if fillsWithBlanks {
            guard let blank = try? names.ids(of: " ").first else {
                throw DeMLError(
                    .missing, "the model knows no blank to fill the text with", hint: "fill it with token 0")
            }
            filler = blank
        }
        let typed = ids.count
        let missing = [Int32](repeating: filler, count: max(0, length - typed))
        ids = filled == .front ? missing + ids.suffix(length) : ids.prefix(length) + missing
        let end = filled == .front ? "the front" : "the end"
        let what = fillsWithBlanks ? "blanks" : "token 0"
        let note =
            typed == length
            ? "\(typed) tokens, as the model takes"
            : typed < length
                ? "\(typed) tokens; the model takes \(length): \(what) fills the rest, at \(end)"
                : "\(typed) tokens; the model takes \(length): \(typed - length) at \(end) are left out"
        return (Tensor(shape: [1, length], int32s: ids), Decision("text", note))
    }
}

/// What the tokens of a model stand for, where a text is typed.
public enum TokenNames: Sendable, Equatable {
    /// Code points.
    case characters(TextVocabulary)
    case bytes
    /// Words, or numbers alone: written with white space or commas between them.
    case words([String])

    /// Of a schema.
    init(_ vocabulary: [String]?) {
        guard let vocabulary else {
            self = .bytes
            return
        }
        // Ten digits may be either; as characters they can be typed without anything between them.
        if let characters = try? TextVocabulary(names: vocabulary) {
            self = .characters(characters)
        } else {
            self = .words(vocabulary)
        }
    }

    /// The names are 0, 1, 2 …
    public var isNumbers: Bool {
        if case .words(let names) = self { names.enumerated().allSatisfy { String($0) == $1 } } else { false }
    }

    func ids(of text: String) throws(DeMLError) -> [Int32] {
        switch self {
        case .characters(let vocabulary): return try vocabulary.ids(of: text)
        case .bytes: return try TextVocabulary.bytes.ids(of: text)
        case .words(let names):
            let known = Dictionary(zip(names, Int32(0)...)) { first, _ in first }
            var ids: [Int32] = []
            for word in text.split(whereSeparator: { $0.isWhitespace || $0 == "," }) {
                guard let id = known[String(word)] else {
                    throw DeMLError(
                        .outOfRange, "the token \(String(word).quotedForMessage) is none that the model knows",
                        hint: isNumbers
                            ? "numbers from 0 to \(names.count - 1), with blanks between them"
                            : "words, with blanks between them")
                }
                ids.append(id)
            }
            return ids
        }
    }
}
