/// Where a training stands between two steps, beside its weights and the optimiser's arrays.
package struct TrainingPosition: Sendable, Equatable, Codable {
    /// Size of the set; 0 before anything is done.
    package var examples = 0
    /// Epochs that are complete, of this training and of all before it: the number of the one in hand.
    package var allEpochs = 0
    /// Optimiser steps of this training and of all before it.
    package var allSteps = 0

    // Of this training.
    package var steps = 0
    package var samples = 0
    package var seconds = 0.0
    /// Those that are complete.
    package var epochs: [EpochResult] = []

    // Of the epoch in hand.
    /// Batches done.
    package var batches = 0
    /// Examples seen.
    package var seen = 0
    /// Sum over the examples seen.
    package var lossSum = 0.0
    package var correct = 0
    /// Labels seen that count, where an example has several.
    package var compared: Int?
    package var epochSeconds = 0.0

    package init() {}

    var isAtBeginning: Bool { steps == 0 }

    mutating func add(_ batch: BatchResult, examples: Int, isStep: Bool, countsLabels: Bool) {
        lossSum += batch.loss
        correct += batch.correct
        if countsLabels { compared = (compared ?? 0) + batch.compared }
        batches += 1
        seen += examples
        samples += examples
        if isStep {
            steps += 1
            allSteps += 1
        }
    }

    mutating func finishEpoch(_ result: EpochResult) {
        epochs.append(result)
        allEpochs += 1
        batches = 0
        seen = 0
        lossSum = 0
        correct = 0
        compared = nil
        epochSeconds = 0
    }

    /// Whether all that the options ask for is done.
    func isComplete(_ options: TrainingOptions) -> Bool {
        options.steps.map { steps >= $0 } ?? (epochs.count >= options.epochs)
    }

    /// Training is over; another may follow.
    mutating func beginAgain() {
        var next = TrainingPosition()
        next.allEpochs = allEpochs
        next.allSteps = allSteps
        self = next
    }

    /// Whether a training with these options can stand here: the numbers may come from a file.
    package func isPossible(_ options: TrainingOptions) -> Bool {
        let many = 1 << 40
        var numbers = [seconds, lossSum, epochSeconds]
        for epoch in epochs { numbers += [epoch.loss, epoch.seconds, epoch.accuracy ?? 0] }
        guard (0...many).contains(examples), (0...many).contains(batches), (0...many).contains(seen),
            numbers.allSatisfy(\.isFinite), !isComplete(options),
            epochs.allSatisfy({ $0.examples == examples })
        else { return false }
        if isAtBeginning {
            var beginning = TrainingPosition()
            beginning.allEpochs = allEpochs
            beginning.allSteps = allSteps
            return self == beginning && (0...many).contains(allEpochs) && (0...many).contains(allSteps)
        }
        // Between two epochs nothing is seen; within one, whole batches that make whole steps.
        let (whole, isTooMany) = batches.multipliedReportingOverflow(by: options.batchSize)
        return !isTooMany && seen == whole && seen < examples && batches % options.accumulateSteps == 0
            && (0...many).contains(compared ?? seen) && (0...(compared ?? seen)).contains(correct)
            && samples == epochs.count * examples + seen
            && steps == epochs.count * options.stepsPerEpoch(examples: examples) + batches / options.accumulateSteps
            && (steps...max(steps, many)).contains(allSteps)
            && (epochs.count...many).contains(allEpochs)
    }
}
