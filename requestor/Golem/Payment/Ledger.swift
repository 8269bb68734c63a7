#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The ledger of one run: a file of JSON lines that is only ever appended to, and saved to disk before anything that
/// a line announces is done. The process that writes it holds a lock on it; a ledger that is neither locked nor
/// closed belongs to a run that crashed.
public final class Ledger: Sendable {
    public let path: String
    private let file: LocalFile
    /// What stood in it when it was opened.
    public let entries: [LedgerEntry]

    /// Opens or begins a ledger. Throws `conflict` if another process is using it.
    public init(path: String) throws {
        self.path = path
        file = try LocalFile(path, .append)
        guard file.tryLock() else {
            throw GolemError(
                .conflict, "another process is using this ledger", place: path,
                hint: "wait for the other run to end, or give this one another name")
        }
        let size = try file.size()
        let bytes = try file.read(at: 0, count: size)
        entries = Ledger.parse(bytes)
        // A line that a crash has torn is cut off, or the next one would be glued to it.
        if let end = bytes.lastIndex(of: UInt8(ascii: "\n")) {
            if end + 1 < size { try file.truncate(to: end + 1) }
        } else if size > 0 {
            try file.truncate(to: 0)
        }
    }

    public func append(_ entry: LedgerEntry) throws {
        var line: [UInt8] = []
        entry.json.write(to: &line)
        line.append(UInt8(ascii: "\n"))
        try file.appendDurably(line)
    }

    static func parse(_ bytes: [UInt8]) -> [LedgerEntry] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            JSON(parsing: line).flatMap { LedgerEntry($0) }
        }
    }

    package static func path(folder: String, run: String) -> String {
        let name = run.map { $0.isLetter || $0.isNumber || "-_.".contains($0) ? $0 : "_" }
        return folder + "/" + String(name) + ".ledger.jsonl"
    }

    /// The ledgers in a folder, sorted by name.
    static func paths(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".ledger.jsonl") }.sorted().map { folder + "/" + $0 }
    }

    static func createFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw GolemError(.io, "cannot create the folder of ledgers", place: path, cause: error)
        }
    }
}

/// What a ledger says about one run, for a table of past payments.
public struct RunPayments: Sendable {
    public var runName: String
    public var budget: Amount
    public var platform: String
    public var opened: Timestamp
    /// `nil`: it is running, or it crashed; the next run cleans up after it.
    public var closed: Timestamp?
    public var allocations: [AllocationID]
    public var expenses: [Expense]

    /// All runs whose ledgers lie in a folder, the oldest first.
    public static func all(in folder: String) throws -> [RunPayments] {
        try Ledger.paths(in: folder).compactMap { path in
            let file = try LocalFile(path, .read)
            let entries = Ledger.parse(try file.read(at: 0, count: file.size()))
            guard case .opened(let run, let budget, let platform, let at)? = entries.first else { return nil }
            let machine = PaymentStateMachine(budget: budget, replaying: entries)
            return RunPayments(
                runName: run, budget: budget, platform: platform, opened: at, closed: machine.closedAt,
                allocations: machine.openAllocations, expenses: machine.expenses(run: run, now: machine.lastTime))
        }.sorted { $0.opened < $1.opened }
    }
}
