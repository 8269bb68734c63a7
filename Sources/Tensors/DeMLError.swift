/// The error of everything that is not network code: what is wrong, where, what to do about it, and what caused it.
///
/// `description` prints the whole tree, one line for each level; ``summary`` is one line.
public struct DeMLError: Error, Sendable, CustomStringConvertible {
    /// What kind of thing went wrong. Extensible: a module may add its own with a `static let`.
    public struct Code: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
        public var rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        public var description: String { rawValue }

        /// Data ends before it should.
        public static let truncated = Code(rawValue: "truncated")
        /// Data breaks the rules of its format.
        public static let malformed = Code(rawValue: "malformed")
        /// Data is larger than the limit, or expands beyond what it promised.
        public static let tooLarge = Code(rawValue: "too-large")
        /// The wrong or an unsupported element type.
        public static let dtype = Code(rawValue: "dtype")
        /// Shapes do not fit.
        public static let shape = Code(rawValue: "shape")
        /// A NaN or an infinity where only finite numbers make sense.
        public static let notFinite = Code(rawValue: "not-finite")
        /// A value outside the permitted range, such as a label beyond the number of classes.
        public static let outOfRange = Code(rawValue: "out-of-range")
        /// Something that must be there is not in the data, such as a tensor.
        public static let missing = Code(rawValue: "missing")
        /// Two things that must belong together do not.
        public static let mismatch = Code(rawValue: "mismatch")
        /// A file or folder does not exist.
        public static let notFound = Code(rawValue: "not-found")
        /// A file may not be read.
        public static let permission = Code(rawValue: "permission")
        /// A file cannot be created: no folder, no permission, a read-only file system.
        public static let cannotCreate = Code(rawValue: "cannot-create")
        /// No space left.
        public static let diskFull = Code(rawValue: "disk-full")
        /// Any other failure of reading or writing.
        public static let io = Code(rawValue: "io")
        /// Wrong arguments or settings.
        public static let usage = Code(rawValue: "usage")
        /// A mistake of this program.
        public static let `internal` = Code(rawValue: "internal")
        /// Something took longer than it may.
        public static let timedOut = Code(rawValue: "timed-out")
        /// A worker did not deliver.
        public static let workerFailed = Code(rawValue: "worker-failed")
    }

    public var code: Code
    /// One sentence, without a full stop: what is wrong.
    public var message: String
    /// The file, tensor, layer or provider it happened at.
    public var place: String?
    /// What the reader can do.
    public var hint: String?
    /// What led to it; printed as a tree by ``description``.
    public var cause: (any Error)?

    public init(
        _ code: Code, _ message: String, place: String? = nil, hint: String? = nil, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.place = place
        self.hint = hint
        self.cause = cause
    }

    /// The same error, with a place if it has none yet.
    public func at(_ place: String) -> DeMLError {
        var error = self
        error.place = self.place ?? place
        return error
    }

    /// The same error with `outer` before its place, as in `shard.safetensors: tensor 'x'`.
    public func within(_ outer: String) -> DeMLError {
        var error = self
        error.place = place.map { "\(outer): \($0)" } ?? outer
        return error
    }

    /// One line: place, message, hint.
    public var summary: String {
        var line = place.map { "\($0): \(message)" } ?? message
        if let hint { line += " (\(hint))" }
        return line
    }

    public var description: String {
        var lines = [place.map { "\($0): \(message)" } ?? message]
        if let hint { lines.append("  hint: \(hint)") }
        if let cause {
            let nested = "\(cause)".split(separator: "\n", omittingEmptySubsequences: false)
            for (index, line) in nested.enumerated() {
                lines.append((index == 0 ? "  └─ " : "     ") + line)
            }
        }
        return lines.joined(separator: "\n")
    }

    /// The exit status of a program that ends with this error, as sysexits.h numbers them.
    public var exitCode: Int32 {
        switch code {
        case .usage: 64
        case .truncated, .malformed, .tooLarge, .dtype, .shape, .notFinite, .outOfRange, .missing, .mismatch: 65
        case .notFound, .permission: 66
        case .workerFailed: 69
        case .cannotCreate: 73
        case .diskFull, .io: 74
        case .timedOut: 75
        default: 70
        }
    }
}
