/// A piece of HTML or SVG. Text becomes markup only through `init(text:)` or `element`, which escape it, so that a file
/// name or a provider's name cannot change the page.
struct Markup: Sendable {
    var source: String

    init(source: String = "") { self.source = source }

    init(text: String) { source = Self.escaped(text) }

    static func + (left: Markup, right: Markup) -> Markup { Markup(source: left.source + right.source) }

    static func += (left: inout Markup, right: Markup) { left.source += right.source }

    /// `<name attributes>content</name>`; attribute values are escaped.
    static func element(_ name: String, _ attributes: [(String, String)] = [], _ content: Markup = Markup()) -> Markup {
        Markup(source: "<\(name)\(written(attributes))>\(content.source)</\(name)>")
    }

    static func element(_ name: String, _ attributes: [(String, String)] = [], text: String) -> Markup {
        element(name, attributes, Markup(text: text))
    }

    /// An element of SVG without content, written `<name …/>`.
    static func shape(_ name: String, _ attributes: [(String, String)]) -> Markup {
        Markup(source: "<\(name)\(written(attributes))/>")
    }

    static func lines(_ parts: [Markup]) -> Markup { Markup(source: parts.map(\.source).joined(separator: "\n")) }

    private static func written(_ attributes: [(String, String)]) -> String {
        attributes.map { " \($0.0)=\"\(escaped($0.1))\"" }.joined()
    }

    static func escaped(_ text: String) -> String {
        var result = ""
        result.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\n", "\t": result.unicodeScalars.append(scalar)
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value): result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// A coordinate of a drawing: one decimal is finer than a pixel and keeps files small and equal everywhere.
func coordinate(_ value: Double) -> String { Figures.decimal(value, digits: 1) }
