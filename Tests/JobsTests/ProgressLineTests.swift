import Jobs
import Testing

@Suite struct ProgressLineTests {
    private func line(
        _ number: Int, of count: Int, loss: Double, accuracy: Double? = nil, rate: Double = 3
    ) -> String? {
        ProgressLine.epoch(
            EpochProgress(epoch: number, epochs: count, loss: loss, accuracy: accuracy, samplesPerSecond: rate)
        ).text
    }

    private func read(_ text: String, of epochs: Int) -> [EpochProgress] {
        var reader = ProgressReader(epochs: epochs)
        return reader.take(text.utf8)
    }

    @Test func areWordsAndValues() {
        #expect(
            line(1, of: 5, loss: 0.2931234, accuracy: 0.9123, rate: 41234.4)
                == "epoch 1/5 loss 0.293123 accuracy 0.912300 samples_per_second 41234")
        #expect(line(5, of: 5, loss: 12.0000004) == "epoch 5/5 loss 12.000000 samples_per_second 3")
        #expect(ProgressLine.delta(sha256: "abc").text == "delta_sha256 abc")
    }

    @Test(arguments: [1, 5, 39, 40, 41, 79, 80, 81, 1000, 1_000_000])
    func fitTheGuestsBufferAndAreRead(epochs: Int) {
        var text = ""
        var told: [Int] = []
        for number in 1...epochs {
            guard let line = line(number, of: epochs, loss: 123456.789, accuracy: 1, rate: 99_999_999) else { continue }
            text += line + "\n"
            told.append(number)
        }
        text += (ProgressLine.delta(sha256: String(repeating: "f", count: 64)).text ?? "") + "\n"
        #expect(told.last == epochs)
        #expect(text.utf8.count < 4096)
        #expect(read(text, of: epochs).map(\.epoch) == told)
    }

    @Test func comeInPiecesOfAnyLength() {
        let text =
            "epoch 1/2 loss 0.500000 accuracy 0.250000 samples_per_second 7\nfree text\n"
            + "epoch 2/2 loss 1e+20 samples_per_second 1e+15\n"
        for size in 1...text.utf8.count {
            var reader = ProgressReader(epochs: 2)
            var found: [EpochProgress] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                found += reader.take(bytes[start..<min(start + size, bytes.count)])
            }
            #expect(
                found == [
                    EpochProgress(epoch: 1, epochs: 2, loss: 0.5, accuracy: 0.25, samplesPerSecond: 7),
                    EpochProgress(
                        epoch: 2, epochs: 2, loss: 1e20, accuracy: nil, samplesPerSecond: Receipt.maximumRate),
                ], "pieces of \(size)")
        }
    }

    @Test(
        "a line that no honest worker prints is not seen",
        arguments: [
            "epoch 9223372036854775807/9223372036854775807 loss 1 samples_per_second 1",
            "epoch 9223372036854775807/3 loss 1 samples_per_second 1", "epoch 4/3 loss 1 samples_per_second 1",
            "epoch 0/3 loss 1 samples_per_second 1", "epoch -1/3 loss 1 samples_per_second 1",
            "epoch 1/4 loss 1 samples_per_second 1", "epoch 1/3/3 loss 1 samples_per_second 1",
            "epoch 99999999999999999999/3 loss 1 samples_per_second 1", "epoch 1/3 loss nan samples_per_second 1",
            "epoch 1/3 loss inf samples_per_second 1", "epoch 1/3 loss 1e300 samples_per_second 1",
            "epoch 1/3 loss 1 samples_per_second nan", "epoch 1/3 loss 1 samples_per_second inf",
            "epoch 1/3 loss 1 samples_per_second -1", "epoch 1/3 loss 1 samples_per_second 1e999",
            "epoch 1/3 loss 1 accuracy nan samples_per_second 1", "epoch 1/3 loss 1 accuracy 1.5 samples_per_second 1",
            "epoch 1/3 loss 1 accuracy 2 samples_per_second 1 and more", "epoch 1/3 loss 1",
            "epoch  1/3 loss 1 samples_per_second 1", " epoch 1/3 loss 1 samples_per_second 1",
            "EPOCH 1/3 loss 1 samples_per_second 1", "epoch 1/3 \u{1b}[2J 1 samples_per_second 1", "",
        ])
    func hostileLines(line: String) {
        #expect(read(line + "\n", of: 3) == [], "\(line)")
    }

    @Test func epochsComeInOrderAndNoMoreThanAreTold() {
        let line = { (number: Int) in "epoch \(number)/1000 loss 1 samples_per_second 1\n" }
        #expect(read(line(2) + line(1) + line(2) + line(3), of: 1000).map(\.epoch) == [2, 3])
        #expect(read((1...1000).map(line).joined(), of: 1000).count == ProgressLine.maximumEpochs + 1)
        #expect(read("epoch 1/1 loss 1 samples_per_second 1\n", of: 0) == [])
    }

    @Test("hostile output takes time in proportion to its length")
    func linearTime() {
        // A parser that is quadratic in the number of lines, as one that removes each from the front of a text is, takes
        // a hundred times as long for ten times the lines.
        func seconds(_ count: Int) -> Double {
            let bytes = [UInt8](repeating: UInt8(ascii: "\n"), count: count)
            let clock = ContinuousClock()
            return (0..<3).map { _ in
                var reader = ProgressReader(epochs: 3)
                return clock.measure { _ = reader.take(bytes) } / .seconds(1)
            }.min() ?? 0
        }
        let (short, long) = (seconds(40_000), seconds(400_000))
        #expect(long < 40 * max(short, 1e-4), "\(short) s and \(long) s")
    }

    @Test("a line without end does not fill the memory, and the next one is read")
    func endlessLine() {
        var reader = ProgressReader(epochs: 1)
        for _ in 0..<1000 { #expect(reader.take([UInt8](repeating: UInt8(ascii: "x"), count: 10_000)) == []) }
        #expect(reader.take("\nepoch 1/1 loss 1 samples_per_second 1\n".utf8).count == 1)
    }
}
