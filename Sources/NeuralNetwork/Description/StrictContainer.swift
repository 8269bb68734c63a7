import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A key that is any text.
package struct TextKey: CodingKey {
    package let stringValue: String
    package var intValue: Int? { nil }

    package init(_ text: String) {
        stringValue = text
    }

    package init(stringValue: String) {
        self.stringValue = stringValue
    }

    package init?(intValue: Int) {
        return nil
    }
}

/// A mapping that knows which keys it may have: others are refused by name, so that a misspelt option is not ignored.
package struct StrictContainer {
    private let container: KeyedDecodingContainer<TextKey>
    /// What the mapping describes, for messages.
    private let subject: String

    /// `keys`: those permitted; nil for all.
    package init(_ decoder: any Decoder, _ subject: String, keys: [String]?) throws {
        do {
            container = try decoder.container(keyedBy: TextKey.self)
        } catch {
            throw DeMLError(
                .malformed, "\(subject) must be a mapping of keys to values", place: place(of: decoder.codingPath))
        }
        self.subject = subject
        guard let keys else { return }
        for key in container.allKeys.map(\.stringValue).sorted() where !keys.contains(key) {
            let known = keys.filter { $0 != "type" }
            throw error(
                .outOfRange, "\(subject) has no option \(key.quotedForMessage)",
                hint: known.isEmpty ? "it has none" : "it has \(known.joined(separator: ", "))")
        }
    }

    /// Whether something is written under the key; null is nothing.
    func has(_ key: String) -> Bool {
        (try? container.decodeNil(forKey: TextKey(key))) == false
    }

    package func required<Value: Decodable>(_ key: String, _: Value.Type) throws -> Value {
        guard let value = try optional(key, Value.self) else {
            throw error(.missing, "\(subject) needs \(key)")
        }
        return value
    }

    package func optional<Value: Decodable>(_ key: String, _: Value.Type) throws -> Value? {
        do {
            return try container.decodeIfPresent(Value.self, forKey: TextKey(key))
        } catch let error as DeMLError {
            throw error
        } catch {
            // Decoders differ in what they say of a number that is no integer: we say it once for all of them.
            throw self.error(.malformed, "\(key) must be \(DeMLError.name(of: Value.self))")
        }
    }

    /// Refuses every value of an option but the one that is implemented.
    package func demand<Value: Decodable & Equatable>(_ key: String, _ only: Value) throws {
        guard let value = try optional(key, Value.self), value != only else { return }
        throw error(.outOfRange, "\(subject) supports only \(key): \(only), not \("\(value)".quotedForMessage)")
    }

    package func error(_ code: DeMLError.Code, _ message: String, hint: String? = nil) -> DeMLError {
        DeMLError(code, message, place: place(of: container.codingPath), hint: hint)
    }
}

/// One number or a list of them.
struct NumberList<Number: Decodable>: Decodable {
    var values: [Number]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Number.self) {
            values = [value]
        } else {
            values = try container.decode([Number].self)
        }
    }
}

/// Where in a description something stands: `layer 3`, `layer 3.layers.0`, or the keys that lead to it.
func place(of path: [any CodingKey]) -> String? {
    guard !path.isEmpty else { return nil }
    guard let first = path.firstIndex(where: { $0.stringValue == "layers" }), path.count > first + 1 else {
        return path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
    let inner = path[(first + 1)...].map { $0.intValue.map(String.init) ?? $0.stringValue }
    return "layer " + inner.joined(separator: ".")
}

extension DeMLError {
    /// What a decoder throws, as an error of ours: wherever a description is read from JSON or YAML, the mistake is
    /// told in the same words. Decoders that wrap our errors are unwrapped.
    public init(decoding error: any Error, of subject: String) {
        switch error {
        case let error as DeMLError:
            self = error
        case DecodingError.dataCorrupted(let context):
            if let inner = context.underlyingError as? DeMLError {
                self = inner
            } else {
                self.init(
                    .malformed, "\(subject) cannot be read: \(context.debugDescription)",
                    place: NeuralNetwork.place(of: context.codingPath), cause: context.underlyingError)
            }
        case DecodingError.keyNotFound(let key, let context):
            self.init(
                .missing, "\(subject) needs \(key.stringValue)", place: NeuralNetwork.place(of: context.codingPath))
        case DecodingError.typeMismatch(let type, let context), DecodingError.valueNotFound(let type, let context):
            self.init(
                .malformed, "\(subject) has a value of the wrong type: \(Self.name(of: type)) was expected",
                place: NeuralNetwork.place(of: context.codingPath))
        default:
            self.init(.malformed, "\(subject) cannot be read", cause: error)
        }
    }

    fileprivate static func name(of type: Any.Type) -> String {
        switch type {
        case is Int.Type, is UInt64.Type: "an integer"
        case is Double.Type, is Float.Type: "a number"
        case is Bool.Type: "true or false"
        case is String.Type: "a text"
        case is NumberList<Int>.Type, is Size2D.Type: "an integer or a list of integers"
        case is NumberList<Double>.Type: "a number or a list of numbers"
        case is any Collection.Type, is LayerList.Type: "a list"
        default: "a mapping"
        }
    }
}
