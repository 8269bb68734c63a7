import ForeignText

/// A command for a rented machine. Several make a batch, which ends at the first that fails.
public enum Command: Sendable, Equatable {
    /// Puts the image in place; the first command of an activity.
    case deploy
    /// The same for a machine that takes part in private networks.
    case deployWith(networks: [NetworkDeployment])
    /// Boots it; the second.
    case start(arguments: [String] = [])
    /// Runs a program. `entryPoint` is an absolute path in the machine.
    case run(String, arguments: [String] = [], stdout: Capture = .stream(), stderr: Capture = .stream())
    /// Copies a file; `from` or `to` is `container:/golem/…`, the other a `gftp:`, `http:` or `https:` address.
    case transfer(from: String, to: String)
    /// Stops other batches and returns the activity to `Initialized`; does not end it.
    case terminate

    /// What is kept of an output stream of a program.
    public enum Capture: Sendable, Equatable {
        /// Nothing; the result has no text.
        case discard
        /// As it comes, at most `limit` bytes.
        case stream(limit: Int? = nil)
        case head(Int)
        case tail(Int)
        case headTail(Int)

        var json: JSON? {
            switch self {
            case .discard: nil
            case .stream(nil): ["stream": [:]]
            case .stream(let limit?): ["stream": ["limit": JSON(limit)]]
            case .head(let count): ["atEnd": ["head": JSON(count)]]
            case .tail(let count): ["atEnd": ["tail": JSON(count)]]
            case .headTail(let count): ["atEnd": ["headTail": JSON(count)]]
            }
        }
    }

    /// `container:` and an absolute path.
    public static func inMachine(_ path: String) -> String { "container:" + path }

    /// As it stands in an exe-script.
    public var json: JSON {
        switch self {
        case .deploy: return ["deploy": [:]]
        case .deployWith(let networks): return ["deploy": ["net": .array(networks.map(\.json))]]
        case .start(let arguments): return ["start": ["args": JSON(arguments)]]
        case .run(let program, let arguments, let stdout, let stderr):
            var capture: [String: JSON] = [:]
            capture["stdout"] = stdout.json
            capture["stderr"] = stderr.json
            return ["run": ["entry_point": .string(program), "args": JSON(arguments), "capture": .object(capture)]]
        case .transfer(let from, let to): return ["transfer": ["from": .string(from), "to": .string(to)]]
        case .terminate: return ["terminate": [:]]
        }
    }

    /// For messages: what it does, in few words.
    public var summary: String {
        switch self {
        case .deploy, .deployWith: "deploy"
        case .start: "start"
        case .run(let program, let arguments, _, _): ([program] + arguments).joined(separator: " ")
        case .transfer(let from, let to): "transfer \(from) to \(to)"
        case .terminate: "terminate"
        }
    }
}

/// How one command of a batch ended.
public struct CommandResult: Sendable, Equatable {
    /// Of the command in its batch, from 0.
    public var index: Int
    /// Whether it ended well; a program: with exit code 0.
    public var succeeded: Bool
    /// What was captured of its output; `nil` where nothing was to be.
    public var stdout: String?
    /// The same of its second stream.
    public var stderr: String?
    /// What went wrong, as the provider says it.
    public var message: String?
    /// The last result of its batch: all commands done, or this one failed.
    public var isBatchFinished: Bool
    /// When it ended, by the provider's clock.
    public var date: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "command result")
        index = try fields.int("index")
        let result = try fields.string("result")
        succeeded = result == "Ok"
        stdout = CommandResult.output(fields["stdout"])
        stderr = CommandResult.output(fields["stderr"])
        message = fields["message"]?.line
        isBatchFinished = fields["isBatchFinished"]?.bool ?? false
        date = fields["eventDate"]?.timestamp
    }

    /// Text, or an array of byte values when the capture's format was binary.
    private static func output(_ json: JSON?) -> String? {
        if let text = json?.string { return text }
        guard let numbers = json?.array else { return nil }
        return ForeignText.lines(bytes: numbers.compactMap { $0.int.flatMap { UInt8(exactly: $0) } })
    }

    /// 0, or what `message` says after "code"; `nil` if it says none. Signals are 128 + n.
    public var exitCode: Int? {
        if succeeded { return 0 }
        guard let range = message?.range(of: "code "), let message else { return nil }
        return Int(message[range.upperBound...].prefix { $0.isNumber || $0 == "-" })
    }
}

extension String {
    fileprivate func range(of part: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(part), let end = index(start, offsetBy: part.count, limitedBy: endIndex) {
                return start..<end
            }
            start = index(after: start)
        }
        return nil
    }
}

/// What a batch came to.
public struct BatchResult: Sendable, Equatable {
    /// Results so far, from index 0; a batch that failed has none for the commands after the failure.
    public var results: [CommandResult]
    /// How many commands were asked for.
    public var commandCount: Int

    package init(results: [CommandResult], commandCount: Int) {
        self.results = results
        self.commandCount = commandCount
    }

    /// What a provider's answer says of a batch: one result a command, in order, as far as there is no gap, and none
    /// behind a failure. A result told again does not count, one for a command that was not asked for neither.
    package init(told answer: [CommandResult], commandCount: Int) {
        let first = Dictionary(answer.map { ($0.index, $0) }, uniquingKeysWith: { first, _ in first })
        self.commandCount = commandCount
        results = []
        while results.count < commandCount, failure == nil, let next = first[results.count] { results.append(next) }
    }

    /// No result will be added.
    package var isFinished: Bool {
        guard let last = results.last else { return commandCount == 0 }
        return results.count == commandCount || !last.succeeded || last.isBatchFinished
    }

    /// The command that failed, if one did: the last of ``results``.
    public var failure: CommandResult? { results.first { !$0.succeeded } }
    /// All commands were done, and well.
    public var succeeded: Bool { failure == nil && results.count == commandCount }
}

/// Where an activity stands.
public struct ActivityState: Sendable, Equatable {
    /// The states, in the order of an activity's life; `unresponsive` is one whose exe-unit has not been heard of for 5 s.
    public enum Name: Sendable, Equatable {
        case new, initialized, deployed, ready, terminated, unresponsive
        case other(String)

        init(_ text: String) {
            self =
                switch text {
                case "New": .new
                case "Initialized": .initialized
                case "Deployed": .deployed
                case "Ready": .ready
                case "Terminated": .terminated
                case "Unresponsive": .unresponsive
                default: .other(text)
                }
        }
    }

    /// What it is.
    public var current: Name
    /// What it is about to become.
    public var pending: Name?
    /// Of one that ended: why, as its provider says it.
    public var reason: String?
    /// Of one that ended: more of it.
    public var errorMessage: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "activity state")
        guard let pair = fields["state"]?.array, let first = pair.first?.string else {
            throw fields.bad("state", "a pair of states")
        }
        current = Name(first)
        pending = pair.count > 1 ? pair[1].string.map { Name($0) } : nil
        reason = fields["reason"]?.line
        errorMessage = fields["errorMessage"]?.line
    }

    /// True if no command will ever be run in it again.
    public var isOver: Bool { current == .terminated || current == .unresponsive }
}

/// What an activity has used, in the order of the offer's usage vector.
public struct ActivityUsage: Sendable, Equatable {
    /// Seconds, processor seconds, …: one number for each counter of the usage vector.
    public var counters: [Double]
    /// When that was counted.
    public var date: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "activity usage")
        guard let counters = fields["currentUsage"]?.doubles ?? (fields["currentUsage"] == nil ? [] : nil) else {
            throw fields.bad("currentUsage", "a list of numbers")
        }
        self.counters = counters
        date = fields["timestamp"]?.int64.map { Timestamp(wholeSeconds: $0) }
    }
}

/// Something that happens in a batch while it runs, from the event stream.
public struct RuntimeEvent: Sendable, Equatable {
    /// `progress` counts bytes of a transfer; a `finished` program has its exit code.
    public enum Kind: Sendable, Equatable {
        case started
        case stdout(String)
        case stderr(String)
        case finished(returnCode: Int, message: String?)
        case progress(done: Int, of: Int?)
        case other(String)
    }

    /// The batch it belongs to.
    public var batchID: BatchID?
    /// Of the command in the batch, from 0.
    public var index: Int
    /// Sent without a zone; it is UTC.
    public var date: Timestamp?
    /// What happened.
    public var kind: Kind

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "runtime event")
        batchID = fields.optionalID("batch_id")
        index = try fields.int("index")
        date = fields["timestamp"]?.timestamp
        guard let (name, value) = fields["kind"]?.object?.first else { throw fields.bad("kind", "an object") }
        kind =
            switch name {
            case "started": .started
            case "stdout": .stdout(value.string ?? value.description)
            case "stderr": .stderr(value.string ?? value.description)
            case "finished": .finished(returnCode: value["return_code"]?.int ?? -1, message: value["message"]?.line)
            case "progress":
                .progress(
                    done: value["progress"]?.array?.first?.int ?? 0, of: value["progress"]?.array?.last?.int)
            default: .other(name)
            }
    }
}
