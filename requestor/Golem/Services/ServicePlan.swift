/// A service: something that is started in a machine and then has to stay up.
public struct ServicePlan: Sendable {
    /// Makes the service run, and returns when it does. Batches of a machine run one after another, so a program that does
    /// not end must be put into the background (`/bin/sh -c 'server >/dev/null 2>&1 &'`).
    public var start: @Sendable (Machine) async throws -> Void
    /// Throws if the service does not work. `nil`: it works as long as its machine is there.
    public var check: (@Sendable (Machine) async throws -> Void)?
    /// Ends it, e.g. fetches what it has written. Its errors are told as events and change nothing.
    public var stop: (@Sendable (Machine) async throws -> Void)?
    /// Between two checks.
    public var checkInterval: Duration = .seconds(10)
    /// A check that takes longer has failed.
    public var checkLimit: Duration = .seconds(30)
    /// The most that ``stop`` may take.
    public var stopLimit: Duration = .seconds(30)
    /// So many checks must fail in a row before the service is started again, 1 or more.
    public var failuresAllowed = 3
    /// What is done when it fails.
    public var restart = RestartPolicy()

    public init(
        start: @Sendable @escaping (Machine) async throws -> Void,
        check: (@Sendable (Machine) async throws -> Void)? = nil
    ) {
        self.start = start
        self.check = check
    }
}

/// What happens to a service that failed.
public struct RestartPolicy: Sendable, Equatable {
    /// How often it is started again in all; `nil`: without limit, 0: never.
    public var limit: Int?
    /// How often in a row it is started again in the same machine before that is given up for another.
    public var inPlace: Int
    /// Before the first restart in a row; doubled for each further one.
    public var pause: Duration
    public var longestPause: Duration
    /// After so long without a failure the next one is the first in a row again.
    public var forgetAfter: Duration

    public init(
        limit: Int? = nil, inPlace: Int = 1, pause: Duration = .seconds(1), longestPause: Duration = .seconds(60),
        forgetAfter: Duration = .seconds(300)
    ) {
        self.limit = limit
        self.inPlace = inPlace
        self.pause = pause
        self.longestPause = longestPause
        self.forgetAfter = forgetAfter
    }

    /// It is not started again.
    public static let never = RestartPolicy(limit: 0)
}

/// Something that happened to a service.
public struct ServiceEvent: Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable { case starting, running, checkFailed, failed, stopped, stopFailed }

    /// Which of the instances, from 0.
    public var instance: Int
    /// What it is about.
    public var kind: Kind
    /// For a person.
    public var message: String
    /// Whose machine it is on.
    public var providerName: String?

    public var description: String {
        "\(kind.rawValue): instance \(instance)" + (providerName.map { " on \($0)" } ?? "")
            + (message.isEmpty ? "" : ": \(message)")
    }
}
