import Tensors

/// Which token has which id: characters in the order of their code points, or bytes.
public struct TextVocabulary: Sendable, Equatable {
    /// Nil: bytes.
    private let characters: [Unicode.Scalar]?
    private let ids: [Unicode.Scalar: Int32]

    /// All bytes.
    public static let bytes = TextVocabulary(characters: nil)

    private init(characters: [Unicode.Scalar]?) {
        self.characters = characters
        ids = Dictionary(zip(characters ?? [], Int32(0)...)) { first, _ in first }
    }

    /// The characters that occur in some texts.
    init(of texts: [String]) throws(DeMLError) {
        var found: Set<Unicode.Scalar> = []
        for text in texts { found.formUnion(text.unicodeScalars) }
        guard found.count <= Dataset.maximumClasses else {
            throw DeMLError(
                .outOfRange, "the text has \(found.count) different characters, more than \(Dataset.maximumClasses)",
                hint: "text: bytes has 256 tokens whatever the text")
        }
        self.init(characters: found.sorted())
    }

    /// Of a schema. Throws `malformed` where a name is not one character.
    public init(names: [String]?) throws(DeMLError) {
        guard let names else {
            self = .bytes
            return
        }
        var characters: [Unicode.Scalar] = []
        for name in names {
            guard let only = name.unicodeScalars.first, name.unicodeScalars.count == 1 else {
                throw DeMLError(.malformed, "the token \(name.quotedForMessage) of the vocabulary is not one character")
            }
            characters.append(only)
        }
        self.init(characters: characters)
    }

    public var count: Int { characters?.count ?? 256 }

    /// As a schema has it.
    var names: [String]? { characters?.map { String(Character($0)) } }
    /// Of the classes that a model of this text chooses among.
    var classNames: [String] { names ?? (0..<256).map(String.init) }

    var words: String { characters == nil ? "bytes" : "characters" }

    /// Throws `outOfRange` for a character that it does not have.
    public func ids(of text: String) throws(DeMLError) -> [Int32] {
        guard characters != nil else { return text.utf8.map(Int32.init) }
        var result: [Int32] = []
        result.reserveCapacity(text.utf8.count)
        for (index, scalar) in text.unicodeScalars.enumerated() {
            guard let id = ids[scalar] else {
                throw DeMLError(
                    .outOfRange,
                    "the character \(String(Character(scalar)).quotedForMessage) (number \(index) of the text) is none that the model knows",
                    hint: "it was trained on a text without it")
            }
            result.append(id)
        }
        return result
    }

    /// The text of some ids; bytes that are no text become replacement characters.
    public func text(of ids: [Int]) -> String {
        guard let characters else { return String(decoding: ids.map { UInt8(truncatingIfNeeded: $0) }, as: UTF8.self) }
        var text = String.UnicodeScalarView()
        for id in ids where characters.indices.contains(id) { text.append(characters[id]) }
        return String(text)
    }
}
