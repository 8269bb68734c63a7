import NeuralNetwork
import Tensors

/// How a text is made examples of: `{tokens: characters, block: 64, stride: 64}`, or `characters` alone.
public struct TextOptions: Sendable, Equatable {
    public enum Tokens: String, Sendable, CaseIterable {
        /// Unicode's code points, those that occur.
        case characters
        /// All 256.
        case bytes
    }

    public var tokens: Tokens
    /// Tokens of an example; nil: as many as the model takes, or 64.
    public var block: Int?
    /// How far an example begins behind the one before it; nil: where that ends.
    public var stride: Int?

    public init(tokens: Tokens = .characters, block: Int? = nil, stride: Int? = nil) {
        self.tokens = tokens
        self.block = block
        self.stride = stride
    }

    static let standardBlock = 64

    /// What is wrong with it, if anything.
    public func validate() throws(DeMLError) {
        for (name, value) in [("block", block), ("stride", stride)] {
            guard let value else { continue }
            guard (1...1 << 20).contains(value) else {
                throw DeMLError(.outOfRange, "text: \(name) \(value) is not between 1 and \(1 << 20)")
            }
        }
    }
}

extension TextOptions: Codable {
    public init(from decoder: any Decoder) throws {
        func kind(_ name: String) throws(DeMLError) -> Tokens {
            guard let tokens = Tokens(rawValue: name) else {
                throw DeMLError(
                    .outOfRange, "the tokens \(name.quotedForMessage) of text are unknown",
                    hint: "known: characters, bytes")
            }
            return tokens
        }
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            self.init(tokens: try kind(name))
            return
        }
        let keys = try StrictContainer(decoder, "text", keys: ["tokens", "block", "stride"])
        self.init(
            tokens: try keys.optional("tokens", String.self).map(kind) ?? .characters,
            block: try keys.optional("block", Int.self), stride: try keys.optional("stride", Int.self))
        try validate()
    }

    public func encode(to encoder: any Encoder) throws {
        guard block != nil || stride != nil else {
            var single = encoder.singleValueContainer()
            try single.encode(tokens.rawValue)
            return
        }
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(tokens.rawValue, forKey: TextKey("tokens"))
        try container.encodeIfPresent(block, forKey: TextKey("block"))
        try container.encodeIfPresent(stride, forKey: TextKey("stride"))
    }
}
