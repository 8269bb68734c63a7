import Federation
import Testing

@Suite struct MeritTests {
    @Test(arguments: [
        // accuracy, loss; the first is better than the second
        (Merit(accuracy: 0.9, loss: 5), Merit(accuracy: 0.8, loss: 1)),
        (Merit(accuracy: 0.9, loss: 1), Merit(accuracy: 0.9, loss: 2)),
        (Merit(accuracy: nil, loss: 1), Merit(accuracy: nil, loss: 2)),
        (Merit(accuracy: 0.1, loss: 9), Merit(accuracy: .nan, loss: 1)),
        (Merit(accuracy: 0.1, loss: 9), Merit(accuracy: 0.9, loss: .nan)),
        (Merit(accuracy: nil, loss: .infinity), Merit(accuracy: nil, loss: .nan)),
    ]) func isBetter(better: Merit, worse: Merit) {
        #expect(better.isBetter(than: worse))
        #expect(!worse.isBetter(than: better))
    }

    @Test func ofEqualsTheFirstIsTheBest() {
        let merits = [Merit(accuracy: 0.5, loss: 1), Merit(accuracy: 0.9, loss: 1), Merit(accuracy: 0.9, loss: 1)]
        #expect(Merit.best(of: merits) == 1)
        #expect(!merits[2].isBetter(than: merits[1]) && !merits[1].isBetter(than: merits[2]))
    }

    @Test func whatIsNotANumberNeverWins() {
        #expect(Merit.best(of: []) == nil)
        #expect(Merit.best(of: [Merit(accuracy: nil, loss: .nan)]) == nil)
        #expect(Merit.best(of: [Merit(accuracy: 0.9, loss: .nan), Merit(accuracy: nil, loss: 3)]) == 1)
    }
}
