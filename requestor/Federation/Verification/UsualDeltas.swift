import Aggregation
import Foundation

/// What deltas of this run look like, and which do not. Being strange proves nothing: it only says what is to be looked at.
struct UsualDeltas: Sendable {
    typealias Work = AuditMachine.Work

    /// Of the present round and of the one before.
    private var recent: [AuditMachine.Key: Work] = [:]
    /// What an answer is compared with, kept as answers come: a round may have thousands, each compared with all.
    private var sum = [Double](repeating: 0, count: DeltaFingerprint.width)
    /// Logarithms of their norms, rising.
    private var norms: [Double] = []
    /// Where each delta of the run was seen first.
    private var seen: [String: AuditMachine.Key] = [:]

    /// A norm so many times the usual one, or so small a part of it, is far outside.
    static let timesNorm = 2.5
    /// A cosine so far below the usual one is far outside.
    static let cosines = 0.3
    /// A delta that much longer than the weights that it changes is no training, whatever the run has seen.
    static let ofWeights = 4.0

    /// Digests that are remembered.
    static let mostSeen = 100_000

    mutating func roundBegan(_ round: Int) {
        if seen.count > Self.mostSeen {
            let oldest = seen.values.map(\.round).sorted()[seen.count / 2]
            seen = seen.filter { $0.value.round > oldest }
        }
        keep { $0.round >= round - 1 }
    }

    mutating func wentBack(to round: Int) {
        keep { $0.round <= round }
        seen = seen.filter { $0.value.round <= round }
    }

    mutating func add(_ work: Work) {
        if recent.updateValue(work, forKey: work.key) == nil { include(work.fingerprint) } else { keep { _ in true } }
        if seen[work.fingerprint.digest] == nil { seen[work.fingerprint.digest] = work.key }
    }

    private mutating func include(_ fingerprint: DeltaFingerprint) {
        for (index, value) in fingerprint.sketch.enumerated() { sum[index] += value }
        let norm = Self.logarithm(fingerprint)
        norms.insert(norm, at: norms.partitioningIndex { $0 >= norm })
    }

    /// Sums are made anew, so that nothing stays of what is left out.
    private mutating func keep(where isKept: (AuditMachine.Key) -> Bool) {
        recent = recent.filter { isKept($0.key) }
        sum = [Double](repeating: 0, count: DeltaFingerprint.width)
        norms = []
        for work in recent.sorted(by: { $0.key < $1.key }).map(\.value) { include(work.fingerprint) }
    }

    mutating func forget(_ key: AuditMachine.Key) {
        keep { $0 != key }
        seen = seen.filter { $0.value != key }
    }

    /// Another training whose delta has the very same bytes.
    func twin(of work: Work) -> AuditMachine.Key? {
        guard let key = seen[work.fingerprint.digest], (key.round, key.client) != (work.key.round, work.key.client)
        else { return nil }
        return key
    }

    /// What is so strange in a delta that it must not be averaged before it was looked at; nil: nothing.
    func alarm(_ work: Work) -> String? {
        if work.fingerprint.norm == 0 { return "it changes nothing" }
        if let twin = twin(of: work) { return "it has the bytes of round \(twin.round), shard \(twin.client)" }
        let limit = Self.ofWeights * max(1, work.weightsNorm)
        if work.fingerprint.norm > limit {
            return "its norm \(Self.text(work.fingerprint.norm)) is above \(Self.text(limit)), four times the weights'"
        }
        if recent.isEmpty { return nil }
        if let strange = Self.strange(work, Spread(rising: norms)) { return strange }
        guard let cosine = work.fingerprint.cosine(to: sum), cosine < -0.2 else { return nil }
        return "it points away from the others (cosine \(Self.text(cosine)))"
    }

    /// Works of a round that differ from the others in it, once all are there.
    func strangers(in round: Int) -> [(key: AuditMachine.Key, reason: String)] {
        let works = recent.filter { $0.key.round == round }.sorted { $0.key < $1.key }.map(\.value)
        guard works.count > 1 else { return [] }
        // The sums of all are made once: a round may have thousands of works.
        var total = [Double](repeating: 0, count: DeltaFingerprint.width)
        for work in works { for index in total.indices { total[index] += work.fingerprint.sketch[index] } }
        let norms = Spread(works.map { Self.logarithm($0.fingerprint) })
        let cosines = works.map { work in
            work.fingerprint.cosine(to: zip(total, work.fingerprint.sketch).map { $0 - $1 })
        }
        let usual = works.count > 2 ? Spread(cosines.compactMap(\.self)).middle : 0.2
        return zip(works, cosines).compactMap { work, cosine in
            if let strange = Self.strange(work, norms) { return (work.key, strange) }
            guard let cosine, cosine < usual - Self.cosines else { return nil }
            return (
                work.key,
                "its direction is far from the others' (cosine \(Self.text(cosine)), usual \(Self.text(usual)))"
            )
        }
    }

    private static func strange(_ work: Work, _ norms: Spread) -> String? {
        // With few of them the spread says nothing.
        let limit = max(log(Self.timesNorm), norms.count >= 8 ? 6 * norms.deviation : 0)
        guard abs(logarithm(work.fingerprint) - norms.middle) > limit else { return nil }
        return "its norm \(text(work.fingerprint.norm)) is far from the usual \(text(exp(norms.middle)))"
    }

    private static func logarithm(_ fingerprint: DeltaFingerprint) -> Double { log(max(fingerprint.norm, 1e-300)) }

    private static func text(_ value: Double) -> String { String(format: "%.3g", value) }
}

/// Median, and median distance from it.
package struct Spread: Equatable {
    package var count: Int
    package var middle: Double
    package var deviation: Double

    init(_ values: [Double]) { self.init(rising: values.sorted()) }

    /// - Parameter values: sorted. Takes a step for each second of them, and none is moved.
    package init(rising values: [Double]) {
        count = values.count
        guard !values.isEmpty else {
            (middle, deviation) = (0, 0)
            return
        }
        let (left, right) = ((values.count - 1) / 2, values.count / 2)
        let middle = (values[left] + values[right]) / 2
        self.middle = middle
        // Distances rise to both sides of the median: the nearer of the two next ones comes next.
        var (below, above) = (right - 1, right)
        var last = (0.0, 0.0)
        for _ in 0...right {
            let isBelow = below >= 0 && (above == values.count || middle - values[below] <= values[above] - middle)
            last = (last.1, isBelow ? middle - values[below] : values[above] - middle)
            if isBelow { below -= 1 } else { above += 1 }
        }
        deviation = left == right ? last.1 : (last.0 + last.1) / 2
    }
}

extension [Double] {
    /// The first place from which on it is so; the elements are sorted by that.
    fileprivate func partitioningIndex(where isSo: (Double) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isSo(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
