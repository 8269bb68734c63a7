/// A condition on properties, as the market understands it.
///
/// The daemon accepts any text as a constraint, and one with a blank in the wrong place, or without parentheses, never
/// matches anything. So constraints are built, not written:
/// ```swift
/// Constraint.all([.equal("golem.runtime.name", "vm"), .atLeast("golem.inf.mem.gib", 0.5)]).text
/// // (&(golem.runtime.name=vm)(golem.inf.mem.gib>=0.5))
/// ```
public indirect enum Constraint: Sendable, Equatable {
    case compare(String, Operator, String)
    case all([Constraint])
    case any([Constraint])
    /// A negated condition on an absent property does not match: undefined stays undefined.
    case not(Constraint)
    /// Text from the daemon itself (the decorations of an allocation).
    case verbatim(String)

    /// How a property is compared.
    public enum Operator: String, Sendable {
        case equal = "="
        case atLeast = ">="
        case atMost = "<="
        case more = ">"
        case less = "<"
    }

    /// Equal; on a list: has the member; `*` stands for any characters. Case-sensitive.
    public static func equal(_ name: String, _ value: String) -> Constraint { .compare(name, .equal, value) }
    /// `(name=true)` or `(name=false)`.
    public static func equal(_ name: String, _ value: Bool) -> Constraint { .compare(name, .equal, "\(value)") }
    /// `(name>=value)`.
    public static func atLeast(_ name: String, _ value: Double) -> Constraint {
        .compare(name, .atLeast, JSON(value).description)
    }
    /// `(name<=value)`.
    public static func atMost(_ name: String, _ value: Double) -> Constraint {
        .compare(name, .atMost, JSON(value).description)
    }
    /// `(name>value)`.
    public static func more(_ name: String, _ value: Double) -> Constraint {
        .compare(name, .more, JSON(value).description)
    }
    /// `(name<value)`.
    public static func less(_ name: String, _ value: Double) -> Constraint {
        .compare(name, .less, JSON(value).description)
    }
    /// `(name=*)`: the property is there, whatever it says.
    public static func present(_ name: String) -> Constraint { .compare(name, .equal, "*") }

    /// Matches everything.
    public static let none = Constraint.all([])

    /// Why this would silently match nothing; `nil` if it is well formed.
    public var problem: String? {
        switch self {
        case .compare(let name, _, let value):
            let forbidden = Set("()&|!=<> \t\n\r\\\"")
            if name.isEmpty || name.contains(where: forbidden.contains) { return "`\(name)` is not a property's name" }
            if value.isEmpty { return "`\(name)` is compared with nothing" }
            if value.first?.isWhitespace == true || value.last?.isWhitespace == true {
                return "`\(name)`: the value `\(value)` begins or ends with a blank"
            }
            if value.contains(where: { "()\\\n\r\t".contains($0) }) {
                return "`\(name)`: the value `\(value)` has a character that the market does not understand"
            }
            return nil
        case .all(let parts), .any(let parts): return parts.lazy.compactMap(\.problem).first
        case .not(let part): return part.problem
        case .verbatim(let text):
            var depth = 0
            for character in text {
                depth += character == "(" ? 1 : character == ")" ? -1 : 0
                if depth < 0 { break }
            }
            return depth == 0 && text.hasPrefix("(") && text.hasSuffix(")") ? nil : "`\(text)` is not a constraint"
        }
    }

    /// The text, without blanks.
    public var text: String {
        switch self {
        case .compare(let name, let relation, let value): "(\(name)\(relation.rawValue)\(value))"
        case .all(let parts) where parts.isEmpty: "()"
        case .any(let parts) where parts.isEmpty: "()"
        case .all(let parts): parts.count == 1 ? parts[0].text : "(&" + parts.map(\.text).joined() + ")"
        case .any(let parts): parts.count == 1 ? parts[0].text : "(|" + parts.map(\.text).joined() + ")"
        case .not(let part): "(!" + part.text + ")"
        case .verbatim(let text): text
        }
    }

    /// Throws `usage` with ``problem``, if there is one.
    public func checked() throws -> Constraint {
        if let problem { throw GolemError(.usage, "a constraint would match nothing: " + problem) }
        return self
    }
}
