/// By how much the daemon's clock differs from ours, as something that it has stamped shows.
package struct ClockDifference: Sendable, Equatable {
    /// Positive: the daemon's clock is ahead. `nil`: it stamped nothing.
    package let seconds: Double?
    /// From when on, by the daemon's clock, events are asked for; those of others do no harm.
    package let eventsBegin: Timestamp

    /// Differences that do no harm, in seconds.
    package static let harmless = 5.0

    /// - Parameters:
    ///   - daemon: the stamp of something that was made between `asked` and `answered` by our clock.
    package init(daemon: Timestamp?, asked: Timestamp, answered: Timestamp) {
        guard let daemon else {
            seconds = nil
            // Everything that the daemon remembers.
            eventsBegin = Timestamp(nanoseconds: 0)
            return
        }
        // Within the time that the call took nothing is known.
        let (ahead, behind) = ((daemon - answered).inSeconds, (asked - daemon).inSeconds)
        seconds = ahead > 0 ? ahead : behind > 0 ? -behind : 0
        eventsBegin = daemon + .seconds(-60)
    }

    /// What a person should know; `nil` when the clocks agree.
    package var warning: String? {
        guard let seconds, abs(seconds) > Self.harmless else { return nil }
        return
            "the clock of the daemon's machine is \(Int(abs(seconds).rounded())) s \(seconds < 0 ? "behind" : "ahead of") "
            + "ours: set both right (timedatectl), or agreements end and bills are due at other times than shown"
    }
}
