import Foundation
import Tensors

/// What is known of providers from earlier runs: how fast they trained and how they failed (SQLite, in the user's data
/// folder). Failures fade: after `halfLife` they count half.
///
/// One file may be used by several runs at once; each operation is one transaction.
public final class ProviderMemory: Sendable {
    /// What is remembered of one provider, faded to a given time.
    public struct Record: Sendable, Equatable {
        public var id: String
        public var name: String
        /// Multiply-adds a second (``TrainingWork``), transfers included, averaged over the newest tasks; `nil` before the
        /// first.
        public var speed: Double?
        /// Tasks that went well and that went wrong, newest counting most.
        public var successes: Double
        public var failures: Double
        /// The last failure, in a sentence.
        public var reason: String?
        public var lastSeen: Date

        /// The share of tasks that go wrong, with one imagined success so that a stranger is not judged by one failure.
        public var failureRate: Double { failures / (successes + failures + 1) }

        /// Whether this provider is asked only when nobody else is there: it failed twice lately, and more often than not.
        public var isAskedLast: Bool { failures >= 1.5 && failures > successes }
    }

    public static let halfLife: TimeInterval = 3 * 86_400
    /// How much a new measurement of speed counts against the old average.
    static let newWeight = 0.3

    private let database: Database

    /// Opens or makes the file at `path`; its folder must exist.
    public convenience init(path: String) throws {
        try self.init(database: Database(path: path))
    }

    /// One that forgets everything at its end.
    public convenience init() throws {
        try self.init(database: Database(path: nil))
    }

    private init(database: Database) throws {
        self.database = database
        try database.transaction { (connection) throws(DeMLError) -> Void in
            try connection.run(
                """
                CREATE TABLE IF NOT EXISTS provider (
                    id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, speed DOUBLE,
                    successes DOUBLE NOT NULL DEFAULT 0, failures DOUBLE NOT NULL DEFAULT 0,
                    reason TEXT, seen DOUBLE NOT NULL)
                """)
            // Speeds were samples a second, which say nothing of another model, and nobody knows of which they were.
            guard try connection.run("PRAGMA user_version").first?["user_version"]?.number == 0 else { return }
            try connection.run("UPDATE provider SET speed = NULL")
            try connection.run("PRAGMA user_version = 1")
        }
    }

    /// A task went well, at so many multiply-adds a second.
    public func succeeded(_ id: String, name: String, speed: Double?, at now: Date) throws {
        try change(id, name: name, at: now) { record in
            record.successes += 1
            guard let speed, speed.isFinite, speed > 0 else { return }
            record.speed = record.speed.map { $0 + Self.newWeight * (speed - $0) } ?? speed
        }
    }

    /// A task, an agreement or a machine went wrong by the provider's doing.
    public func failed(_ id: String, name: String, reason: String, at now: Date) throws {
        try change(id, name: name, at: now) { record in
            record.failures += 1
            record.reason = reason
        }
    }

    public func record(_ id: String, at now: Date) throws -> Record? {
        try database.transaction { (connection) throws(DeMLError) in try Self.row(id, connection) }
            .map { Self.record($0, at: now) }
    }

    /// All that are known, the newest first.
    public func records(at now: Date) throws -> [Record] {
        try database.transaction { (connection) throws(DeMLError) in
            try connection.run("SELECT * FROM provider ORDER BY seen DESC, id")
        }.map { Self.record($0, at: now) }
    }

    /// Forgets everybody who was not seen since `date`.
    public func forget(before date: Date) throws {
        try database.transaction { (connection) throws(DeMLError) -> Void in
            try connection.run("DELETE FROM provider WHERE seen < ?", [.number(date.timeIntervalSince1970)])
        }
    }

    private func change(_ id: String, name: String, at now: Date, _ body: (inout Record) -> Void) throws {
        try database.transaction { (connection) throws(DeMLError) -> Void in
            var record =
                try Self.row(id, connection).map { Self.record($0, at: now) }
                ?? Record(id: id, name: name, speed: nil, successes: 0, failures: 0, reason: nil, lastSeen: now)
            record.name = name
            body(&record)
            try connection.run(
                """
                INSERT OR REPLACE INTO provider (id, name, speed, successes, failures, reason, seen)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(id), .text(record.name), .init(record.speed), .number(record.successes),
                    .number(record.failures), .init(record.reason), .number(now.timeIntervalSince1970),
                ])
        }
    }

    private static func row(_ id: String, _ connection: borrowing Database.Connection) throws(DeMLError) -> Database
        .Row?
    {
        try connection.run("SELECT * FROM provider WHERE id = ?", [.text(id)]).first
    }

    private static func record(_ row: Database.Row, at now: Date) -> Record {
        let seen = row["seen"]?.number ?? 0
        let faded = exp2(-max(0, now.timeIntervalSince1970 - seen) / halfLife)
        return Record(
            id: row["id"]?.text ?? "", name: row["name"]?.text ?? "", speed: row["speed"]?.number,
            successes: (row["successes"]?.number ?? 0) * faded, failures: (row["failures"]?.number ?? 0) * faded,
            reason: row["reason"]?.text, lastSeen: Date(timeIntervalSince1970: seen))
    }
}

extension GolemSettings {
    /// Where DeML keeps what outlives a run: `data_folder`, else `$XDG_DATA_HOME/deml`, else `~/.local/share/deml`.
    public func dataFolder(environment: [String: String]) -> String {
        if let dataFolder { return dataFolder }
        if let base = environment["XDG_DATA_HOME"], base.hasPrefix("/") { return base + "/deml" }
        return (environment["HOME"] ?? "/tmp") + "/.local/share/deml"
    }
}
