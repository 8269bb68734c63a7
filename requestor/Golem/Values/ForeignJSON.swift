import ForeignText

/// What others wrote, as the daemon passes it on: the border where their text becomes ours.
///
/// Names, reasons, messages and outputs are a provider's, a requestor's next door or a stranger's; the daemon hands them
/// through as they are. Every text of an answer, keys included, goes through ``ForeignText`` before anything is made of it.
extension JSON {
    /// Reads an answer; `nil` if it is not JSON.
    package init?(answer text: some Sequence<UInt8>) {
        guard let json = JSON(parsing: text) else { return nil }
        self = json.harmless
    }

    /// The same value with every text in it harmless.
    var harmless: JSON {
        switch self {
        case .null, .bool, .number: self
        case .string(let text): .string(ForeignText.lines(text))
        case .array(let values): .array(values.map(\.harmless))
        case .object(let fields):
            .object(
                Dictionary(
                    fields.map { (ForeignText.line($0.key), $0.value.harmless) },
                    uniquingKeysWith: { first, _ in first }))
        }
    }

    /// A text of one line: a name, an id, a reason.
    public var line: String? { string.map { ForeignText.line($0) } }
}
