import NeuralNetwork

/// The learning rates of a training without a federation: at each share of its steps the rate that a client had at the same
/// share of the federated run, whose rounds and local steps have schedules of their own.
package struct ReferenceRates: Sendable {
    private let settings: TrainingSettings
    private let rounds: Int
    /// Examples that the whole training sees, each as often as it does, and those of a pass.
    private let all: Double
    private let examples: Int
    /// Optimiser steps of a client in a round.
    private let localSteps: Int

    /// - Parameters:
    ///   - rounds: that the federated run has made, at least 1.
    ///   - examples: of a pass.
    ///   - ofClient: the examples of a client, on average.
    ///
    /// nil where the rate is the same all the time.
    package init?(_ settings: TrainingSettings, rounds: Int, passes: Int, examples: Int, ofClient: Int) {
        guard
            settings.learningRateDecay != 1 || settings.roundSchedule != .constant || settings.schedule != .constant
        else { return nil }
        self.settings = settings
        self.rounds = max(1, rounds)
        self.examples = examples
        all = Double(passes) * Double(examples)
        localSteps = settings.steps(examples: max(1, ofClient))
    }

    /// The rates of a pass, counted from 1, by the examples of it that have been seen.
    package func ofPass(_ pass: Int) -> @Sendable (_ seen: Int) -> Double {
        { seen in rate(pass: pass, seen: seen) }
    }

    private func rate(pass: Int, seen: Int) -> Double {
        // Whole numbers below 2⁵³, so that the bounds between rounds are met exactly.
        let done = (Double(pass - 1) * Double(examples) + Double(seen)) * Double(rounds)
        let round = min(Int(done / all), rounds - 1)
        let step = Int((done - Double(round) * all) * Double(localSteps) / all)
        return settings.schedule.rate(settings.learningRate(round: round + 1), at: step)
    }
}
