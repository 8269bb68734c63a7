import Tensors

/// Counts a classifier's answers, batch by batch, and makes ``ClassificationMetrics`` of them.
///
/// Memory: a few numbers a class, and for the areas under the curve every score, 4 bytes each, where there are at most
/// ``mostScores`` of them; 5 bytes an example beside.
package struct ClassificationCounter {
    /// More scores (examples times classes) than this are not ranked: 64 MiB.
    package static let mostScores = 1 << 24

    private let classes: Int
    private let topK: Int?
    private var support: [Int]
    private var predicted: [Int]
    private var right: [Int]
    private var inTopK = 0
    private var logLoss = 0.0
    private var bins = CalibrationBins()
    private var ranking: ScoreRanking?

    /// - Parameter examples: how many there will be.
    package init(classes: Int, examples: Int, mostScores: Int = Self.mostScores) {
        self.classes = classes
        topK = classes < 3 ? nil : min(5, classes - 1)
        support = [Int](repeating: 0, count: classes)
        predicted = support
        right = support
        let (scores, overflow) = classes.multipliedReportingOverflow(by: examples)
        if !overflow, scores <= mostScores { ranking = ScoreRanking(classes: classes, capacity: examples) }
    }

    /// Adds an example: its class, the class it is taken for, and the probabilities of all classes.
    package mutating func add(label: Int, predicted guess: Int, probabilities: UnsafePointer<Float>) {
        support[label] += 1
        predicted[guess] += 1
        if guess == label { right[label] += 1 }
        let own = probabilities[label]
        var highest: Float = 0
        var ahead = 0
        for index in 0..<classes {
            let probability = probabilities[index]
            highest = max(highest, probability)
            if probability > own || probability == own && index > label { ahead += 1 }
        }
        if let topK, ahead < topK { inTopK += 1 }
        let epsilon = Double.ulpOfOne
        logLoss -= PortableMath.log(min(max(Double(own), epsilon), 1 - epsilon))
        bins.add(confidence: Double(highest), isRight: guess == label)
        ranking?.add(label: label, probabilities: probabilities)
    }

    /// Of all examples that were added, at least one.
    package func metrics() -> ClassificationMetrics {
        let count = support.reduce(0, +)
        precondition(count > 0, "metrics of no examples")
        let areas = ranking?.areas()
        let rows = (0..<classes).map { index in
            ClassMetrics(
                support: support[index], predicted: predicted[index], right: right[index], rocAUC: areas?[index])
        }
        let known = rows.filter { $0.precision != nil }
        func mean(_ value: (ClassMetrics) -> Double?, of rows: [ClassMetrics]) -> Double {
            rows.reduce(0) { $0 + (value($1) ?? 0) } / Double(rows.count)
        }
        return ClassificationMetrics(
            accuracy: Double(right.reduce(0, +)) / Double(count), topK: topK,
            topKAccuracy: topK.map { _ in Double(inTopK) / Double(count) },
            balancedAccuracy: mean(\.recall, of: rows.filter { $0.support > 0 }),
            precision: mean(\.precision, of: known), recall: mean(\.recall, of: known), f1: mean(\.f1, of: known),
            rocAUC: overallArea(areas), logLoss: logLoss / Double(count), calibrationError: bins.error,
            classes: rows)
    }

    private func overallArea(_ areas: [Double?]?) -> Double? {
        guard let areas, areas.count > 1, !areas.contains(nil) else { return nil }
        return areas.count == 2 ? areas[1] : areas.reduce(0) { $0 + ($1 ?? 0) } / Double(areas.count)
    }
}

extension ClassMetrics {
    fileprivate init(support: Int, predicted: Int, right: Int, rocAUC: Double?) {
        func share(_ part: Int, of whole: Int) -> Double? {
            if whole > 0 { return Double(part) / Double(whole) }
            return support + predicted > 0 ? 0 : nil
        }
        self.init(
            support: support, predicted: predicted, precision: share(right, of: predicted),
            recall: share(right, of: support), f1: share(2 * right, of: support + predicted), rocAUC: rocAUC)
    }
}

/// How far confidence and accuracy are apart, in bins of confidence.
private struct CalibrationBins {
    private static let count = 15
    private var counts = [Int](repeating: 0, count: Self.count)
    private var right = [Int](repeating: 0, count: Self.count)
    private var confidence = [Double](repeating: 0, count: Self.count)

    mutating func add(confidence value: Double, isRight: Bool) {
        // numpy.linspace's edges, each belonging to the bin below it.
        var bin = 0
        while bin < Self.count - 1, Double(bin + 1) * (1 / Double(Self.count)) < value { bin += 1 }
        counts[bin] += 1
        confidence[bin] += value
        if isRight { right[bin] += 1 }
    }

    var error: Double {
        let distances = zip(right, confidence).reduce(0) { $0 + abs(Double($1.0) - $1.1) }
        return distances / Double(counts.reduce(0, +))
    }
}

/// All scores of all classes, to be ranked.
private struct ScoreRanking {
    private let classes: Int
    private let capacity: Int
    private var labels: [Int32] = []
    /// [classes][capacity]: a score's bits, which are in the order of the numbers as none is negative.
    private var scores: [UInt32]

    init(classes: Int, capacity: Int) {
        self.classes = classes
        self.capacity = capacity
        scores = [UInt32](repeating: 0, count: classes * capacity)
        labels.reserveCapacity(capacity)
    }

    mutating func add(label: Int, probabilities: UnsafePointer<Float>) {
        precondition(labels.count < capacity, "more examples than were told of")
        // A probability of -0 is 0.
        for index in 0..<classes { scores[index * capacity + labels.count] = (probabilities[index] + 0).bitPattern }
        labels.append(Int32(label))
    }

    /// Of each class against the rest; nil where it has no examples, or all.
    func areas() -> [Double?] {
        var keys = [UInt32](repeating: 0, count: labels.count)
        var spare = keys
        return (0..<classes).map { index in
            for row in labels.indices {
                keys[row] = scores[index * capacity + row] << 1 | (labels[row] == Int32(index) ? 1 : 0)
            }
            Self.sort(&keys, &spare)
            return Self.area(keys)
        }
    }

    /// Mann and Whitney's U over the number of pairs: the share of pairs of a positive and a negative example in which
    /// the positive one has the higher score, with a half for equal ones. In whole numbers, so that nothing is rounded.
    private static func area(_ keys: [UInt32]) -> Double? {
        var twiceU = 0
        var (negatives, positives) = (0, 0)
        var index = 0
        while index < keys.count {
            let score = keys[index] >> 1
            var (equalNegatives, equalPositives) = (0, 0)
            while index < keys.count, keys[index] >> 1 == score {
                if keys[index] & 1 == 1 { equalPositives += 1 } else { equalNegatives += 1 }
                index += 1
            }
            twiceU += equalPositives * (2 * negatives + equalNegatives)
            negatives += equalNegatives
            positives += equalPositives
        }
        guard positives > 0, negatives > 0 else { return nil }
        return Double(twiceU) / (2 * Double(positives) * Double(negatives))
    }

    /// Radix sort by 11 bits at a time.
    private static func sort(_ keys: inout [UInt32], _ spare: inout [UInt32]) {
        for shift in [UInt32(0), 11, 22] {
            var places = [Int](repeating: 0, count: 2048)
            for key in keys { places[Int(key >> shift & 2047)] += 1 }
            var sum = 0
            for digit in places.indices { (places[digit], sum) = (sum, sum + places[digit]) }
            for key in keys {
                let digit = Int(key >> shift & 2047)
                spare[places[digit]] = key
                places[digit] += 1
            }
            swap(&keys, &spare)
        }
    }
}
