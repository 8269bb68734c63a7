import ForeignText

extension StringProtocol {
    /// Text from outside (a provider's name, a worker's message) as one line that is safe to print and to keep.
    package func harmless(maximum: Int) -> String { ForeignText.line(self, limit: maximum) }

    /// The same for text of several lines, whose ends stay.
    package func harmlessLines(maximum: Int) -> String { ForeignText.lines(self, limit: maximum) }

    /// The text in quotes for a message: cut to a readable length, with the harmful shown, so that a name out of a hostile
    /// file can neither fill nor steer a terminal.
    package var quotedForMessage: String { ForeignText.quoted(self) }
}
