/// Where a training stands between two steps, beside its weights and the optimiser's state.
struct TrainingPosition: Sendable, Equatable {
    /// Size of the set; 0 before anything is done.
    var examples = 0
    /// Epochs that are complete, of this training and of all before it: the number of the one in hand.
    var allEpochs = 0
    /// Optimiser steps of this training and of all before it.
    var allSteps = 0

    // Of this training.
    var steps = 0
    var samples = 0
    var seconds = 0.0
    /// Those that are complete.
    var epochs: [EpochResult] = []

    // Of the epoch in hand.
    /// Batches done.
    var batches = 0
    /// Examples seen.
    var seen = 0
    /// Sum over the examples seen.
    var lossSum = 0.0
    var correct = 0
    var epochSeconds = 0.0

    var isAtBeginning: Bool { steps == 0 }

    mutating func add(_ batch: BatchResult, examples: Int, isStep: Bool) {
        lossSum += batch.loss
        correct += batch.correct
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
        epochSeconds = 0
    }

    /// Training is over; another may follow.
    mutating func beginAgain() {
        var next = TrainingPosition()
        next.allEpochs = allEpochs
        next.allSteps = allSteps
        self = next
    }
}
