/// How many trials are trained for how many rounds: all of them a little, the better ones more, the best to the end.
///
/// Jamieson, Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016; the rungs
/// as in Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020: of n trials the best n/f go on, with
/// f times the rounds, until one is left.
public struct SuccessiveHalving: Sendable, Equatable {
    public struct Rung: Sendable, Equatable, Codable {
        /// Rounds that a trial has made at its end.
        public var rounds: Int
        /// Trials that are trained so far.
        public var trials: Int
    }

    public let rungs: [Rung]

    /// - Parameters:
    ///   - trials: at least 1.
    ///   - rounds: of the trial that is left, at least 1.
    ///   - factor: f, at least 2.
    public init(trials: Int, rounds: Int, factor: Int) {
        precondition(trials >= 1 && rounds >= 1 && factor >= 2)
        var counts = [trials]
        while let last = counts.last, last > 1 { counts.append((last + factor - 1) / factor) }
        var rungs: [Rung] = []
        var left = rounds
        for count in counts.reversed() {
            // With few rounds the first rungs fall together: the one of more trials stays.
            if rungs.first?.rounds == left { rungs.removeFirst() }
            rungs.insert(Rung(rounds: left, trials: count), at: 0)
            left = max(1, left / factor)
        }
        self.rungs = rungs
    }

    /// Rounds that are trained, all trials together.
    public var work: Int {
        zip(rungs, [0] + rungs.map(\.rounds)).reduce(0) { $0 + $1.0.trials * ($1.0.rounds - $1.1) }
    }
}
