import Tensors

/// Any value of JSON or YAML.
package enum JSONTree: Sendable, Equatable, Codable {
    case null
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([JSONTree])
    case mapping([String: JSONTree])

    package init(from decoder: any Decoder) throws {
        guard decoder.codingPath.count <= 100 else {
            throw DeMLError(.tooLarge, "the values are nested too deep")
        }
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if var list = try? decoder.unkeyedContainer() {
            var values: [JSONTree] = []
            while !list.isAtEnd { values.append(try list.decode(JSONTree.self)) }
            self = .list(values)
        } else {
            self = .mapping(try container.decode([String: JSONTree].self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .boolean(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .list(let values): try container.encode(values)
        case .mapping(let values): try container.encode(values)
        }
    }

    /// Of a mapping; `null` is nothing.
    package subscript(key: String) -> JSONTree? {
        get {
            guard case .mapping(let values) = self, let value = values[key], value != .null else { return nil }
            return value
        }
        set {
            guard case .mapping(var values) = self else { return }
            values[key] = newValue
            self = .mapping(values)
        }
    }

    package var int: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value) where value.rounded() == value && abs(value) < 1e15: Int(value)
        default: nil
        }
    }

    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    package var text: String? { if case .text(let value) = self { value } else { nil } }
    package var bool: Bool? { if case .boolean(let value) = self { value } else { nil } }
    package var list: [JSONTree]? { if case .list(let values) = self { values } else { nil } }
    package var mapping: [String: JSONTree]? { if case .mapping(let values) = self { values } else { nil } }
}
