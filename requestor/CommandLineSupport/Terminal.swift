import Foundation

/// What the stream written to can show. Decided once, from the environment and the stream; everything else takes it as
/// a value.
public struct Terminal: Sendable, Equatable {
    /// Lines may be rewritten: a person is looking.
    public var isInteractive: Bool
    public var hasColour: Bool
    public var columns: Int
    public var rows: Int

    public init(isInteractive: Bool, hasColour: Bool, columns: Int, rows: Int = 24) {
        self.isInteractive = isInteractive
        self.hasColour = hasColour
        self.columns = columns
        self.rows = rows
    }

    /// `NO_COLOR` (no-color.org: present and not empty) and `TERM=dumb` turn colour off, a stream that is no terminal
    /// too; `CLICOLOR_FORCE` turns it on for those who pipe into a pager. `COLUMNS` is the width where none is known.
    public init(environment: [String: String], isTerminal: Bool, columns: Int?, rows: Int? = nil) {
        let dumb = environment["TERM"] == "dumb"
        let refused = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
        let forced = environment["CLICOLOR_FORCE"].map { !$0.isEmpty && $0 != "0" } ?? false
        isInteractive = isTerminal && !dumb
        hasColour = !refused && (forced || isInteractive)
        let width = columns ?? environment["COLUMNS"].flatMap { Int($0) } ?? 120
        self.columns = min(400, max(40, width))
        self.rows = min(400, max(8, rows ?? 24))
    }

    /// The terminal behind a file descriptor of this process, standard output by default.
    public static func current(
        of descriptor: Int32 = STDOUT_FILENO, environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> Terminal {
        var size = winsize()
        let known = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return Terminal(
            environment: environment, isTerminal: isatty(descriptor) == 1, columns: known ? Int(size.ws_col) : nil,
            rows: known && size.ws_row > 0 ? Int(size.ws_row) : nil)
    }
}

/// Paints text with SGR sequences, or leaves it alone.
public struct Paint: Sendable, Equatable {
    public enum Colour: String, Sendable, CaseIterable {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case blue = "34"
        case cyan = "36"
    }

    public var isOn: Bool

    public init(_ isOn: Bool) { self.isOn = isOn }

    public func callAsFunction(_ text: String, _ colours: Colour...) -> String {
        guard isOn, !text.isEmpty, !colours.isEmpty else { return text }
        return "\u{1B}[" + colours.map(\.rawValue).joined(separator: ";") + "m" + text + "\u{1B}[0m"
    }
}
