/// The one error of this module: what was asked, of whom, what came back, and what to do about it.
public struct GolemError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is. Extensible: compare with the constants, expect unknown ones.
    public struct Code: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }

        /// The daemon does not answer at all: not running, restarting, wrong address.
        public static let unreachable = Code(rawValue: "unreachable")
        /// The address wants TLS, and the other side is not who it should be, or speaks something else.
        public static let untrusted = Code(rawValue: "untrusted")
        /// The app-key is missing or wrong.
        public static let unauthorized = Code(rawValue: "unauthorized")
        /// 400: the daemon refused what was asked.
        public static let refused = Code(rawValue: "refused")
        /// 404: the thing asked for is not there (on an event poll: subscribe again).
        public static let notFound = Code(rawValue: "not-found")
        /// 409: already done.
        public static let conflict = Code(rawValue: "conflict")
        /// 410: over for good.
        public static let gone = Code(rawValue: "gone")
        /// 408 or our own deadline: try again, or give up.
        public static let timedOut = Code(rawValue: "timed-out")
        /// 500 with "GSB error": the other node did not answer.
        public static let peer = Code(rawValue: "peer")
        /// 501: this daemon cannot do that.
        public static let unsupported = Code(rawValue: "unsupported")
        /// Any other failure reported by the daemon.
        public static let daemon = Code(rawValue: "daemon")
        /// An answer that is not what the reference says.
        public static let malformed = Code(rawValue: "malformed")
        /// A command in the rented machine ended with an error.
        public static let commandFailed = Code(rawValue: "command-failed")
        /// The rented machine is lost: dead, unresponsive, or its agreement ended.
        public static let machineLost = Code(rawValue: "machine-lost")
        /// The rented machine was given up by us: closed, or a batch in it was called off.
        public static let closed = Code(rawValue: "closed")
        /// The agreement under which a machine was rented has come to its agreed end.
        public static let expired = Code(rawValue: "expired")
        /// No machine could be rented within the time allowed.
        public static let noMachine = Code(rawValue: "no-machine")
        /// The budget or the funds do not allow it.
        public static let budget = Code(rawValue: "budget")
        /// A file sent or received is not what its hash or size says.
        public static let corrupted = Code(rawValue: "corrupted")
        /// A setting of the caller is wrong.
        public static let usage = Code(rawValue: "usage")
        /// Reading or writing a local file, or reaching a server in the web, failed.
        public static let io = Code(rawValue: "io")
        /// The requestor is shutting down.
        public static let stopped = Code(rawValue: "stopped")
    }

    /// The kind.
    public var code: Code
    /// One sentence: what is wrong.
    public var message: String
    /// What was asked, e.g. `POST /market-api/v1/agreements`.
    public var request: String?
    /// Of whom: the daemon's address, or a provider's name and node id.
    public var place: String?
    /// HTTP status of the answer, if there was one.
    public var status: Int?
    /// The beginning of the answer as it came.
    public var answer: String?
    /// What to do.
    public var hint: String?
    /// Why, if something below failed.
    public var cause: (any Error)?

    public init(
        _ code: Code, _ message: String, request: String? = nil, place: String? = nil, status: Int? = nil,
        answer: String? = nil, hint: String? = nil, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.request = request
        self.place = place
        self.status = status
        self.answer = answer
        self.hint = hint
        self.cause = cause
    }

    /// The same error with a place, if it has none yet.
    public func at(_ place: String) -> GolemError {
        var copy = self
        copy.place = copy.place ?? place
        return copy
    }

    /// Message, then what was asked, of whom, what came back and what to do; causes below as a tree.
    public var description: String {
        var lines = [message]
        if let request { lines.append("  asked:  " + request) }
        if let place { lines.append("  of:     " + place) }
        if status != nil || answer != nil {
            let text = [status.map(String.init), answer].compactMap(\.self).joined(separator: " ")
            lines.append("  answer: " + text)
        }
        if let hint { lines.append("  do:     " + hint) }
        if let cause {
            let below = String(describing: cause).split(separator: "\n").joined(separator: "\n    ")
            lines.append("  └ " + below)
        }
        return lines.joined(separator: "\n")
    }
}

extension GolemError {
    /// Of the reason for which a machine is lost: whether that is the provider's doing. It is not when we closed it, when
    /// its agreement came to its end, and when it is our own daemon that does not answer.
    public var isProvidersFault: Bool { code == .machineLost || code == .timedOut }

    /// Our own daemon cannot be reached: nobody else is to blame, and whether a call was carried out is not known.
    public var isOurDaemons: Bool { code == .unreachable }

    /// True for failures of the other node or of the way to it, which a later attempt may not meet.
    public var mayPass: Bool {
        [.unreachable, .timedOut, .peer].contains(code)
    }
}

extension Error {
    /// Whether it is that our own daemon cannot be reached.
    var isOurDaemons: Bool { (self as? GolemError)?.isOurDaemons ?? false }
}
