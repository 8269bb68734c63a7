#!/bin/sh
# A person's own data, as files of this kind are: what deml says, learns and refuses, each by whole commands.
set -eu
. "$(dirname "$0")/lib.sh"
scratch=$DEML_TEST_SCRATCH
python=${DEML_TEST_PYTHON:-python3}
cd "$scratch"

# Three kinds of tree by three measures; the same rows in the forms that people keep tables in.
"$python" - <<'PYTHON'
import gzip, random, struct, zipfile, io
import numpy as np
random.seed(4)
kinds = ["ash", "birch", "cedar"]
count = 240
ids = [i % 3 for i in range(count)]
rows = [[round(3 * (j == k) + random.gauss(0, 0.4), 3) for j in range(3)] for k in ids]
def table(name, header, line, n=count, end="\n"):
    with open(name, "w", newline="") as file:
        file.write((header + end if header else "") + "".join(line(i) + end for i in range(n)))
numbers = lambda i, sep=",": sep.join(map(str, rows[i]))
table("named.csv", "kind,a,b,c", lambda i: kinds[ids[i]] + "," + numbers(i))
table("label.csv", "label,a,b,c", lambda i: f"{ids[i]},{numbers(i)}")
table("bare.csv", "", lambda i: f"{numbers(i)},{ids[i]}")
table("pandas.csv", "0,1,2,label", lambda i: f"{numbers(i)},{ids[i]}")
table("minus.csv", "label,a,b,c", lambda i: f"{1 if ids[i] else -1},{numbers(i)}")
table("count.csv", "a,b,c,count", lambda i: f"{numbers(i)},{max(0, round(4 * rows[i][0]))}")
table("price.csv", "rooms,dist,area,price", lambda i: f"{numbers(i)},{2 * rows[i][0] - rows[i][1]:.2f}")
table("two.csv", "smoker,a,b,c,ill", lambda i: f"{i % 2},{numbers(i)},{int(rows[i][0] > 1.5)}")
table("gaps.csv", "", lambda i: f"{ids[i]},1.5,?,2.5" if i == 0 else f"{ids[i]},{numbers(i)}")
table("quoted.csv", '"label";"a, cm";"b, cm";"c, cm"', lambda i: f"{ids[i]};{numbers(i, ';')}")
table("mac.csv", "label,a,b,c", lambda i: f"{ids[i]},{numbers(i)}", end="\r")
table("new.csv", "a,b,c", numbers, 20)
table("new_tabs.csv", "c\ta\tb", lambda i: f"{rows[i][2]}\t{rows[i][0]}\t{rows[i][1]}", 20)
table("new_quoted.csv", '"a";"b";"c"', lambda i: ";".join(f'"{v}"' for v in rows[i]), 20)
table("new_labelled.csv", "label,a,b,c", lambda i: f"{ids[i]},{numbers(i)}", 20)
import os
for folder, header, line in (("order", "c,b,a,label", lambda i: f"{rows[i][2]},{rows[i][1]},{rows[i][0]},{ids[i]}"),
                             ("kaggle", "a,b,c", numbers)):
    os.mkdir(folder)
    table(f"{folder}/train.csv", "label,a,b,c", lambda i: f"{ids[i]},{numbers(i)}", 180)
    table(f"{folder}/test.csv", header, line, 60)
x = np.array(rows, np.float32)
np.savez("capitals.npz", X_train=x[:180], y_train=np.array(ids[:180]), X_test=x[180:], y_test=np.array(ids[180:], float))
np.savez("texts.npz", data=np.asfortranarray(x.astype(">f8")), labels=np.array([kinds[i] for i in ids]))
images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
np.savez("last.npz", x_train=images, y_train=np.arange(40) % 2, x_test=images, y_test=np.eye(2)[np.arange(40) % 2])
os.mkdir("raw")
for name, n in (("train", 30), ("t10k", 10)):
    for kind, head, size in (("images-idx3", struct.pack(">4B3I", 0, 0, 8, 3, n, 2, 2), 4 * n),
                             ("labels-idx1", struct.pack(">4BI", 0, 0, 8, 1, n), n)):
        data = head + bytes(i % 2 for i in range(size))
        open(f"raw/{name}-{kind}-ubyte", "wb").write(data)
        gzip.open(f"raw/{name}-{kind}-ubyte.gz", "wb").write(data)
PYTHON
printf 'layers: [{type: linear}]\n' >tiny.yaml
printf 'layers: [{type: linear}]\nloss: mse\n' >line.yaml
printf 'layers: [{type: flatten}, {type: linear}]\ninput: {divide_by: 255}\n' >pictures.yaml

train() {
    "$DEML" train --on simulated --no-comparison --rounds 4 --learning-rate 0.05 --model tiny.yaml "$@" 2>&1 </dev/null
}
# learns WHAT PART-OF-WHAT-IS-SAID OPTIONS...
learns() {
    what=$1 part=$2
    shift 2
    rm -rf run
    if said=$(train --output run "$@"); then contains "$what" "$part" "$said"; else not_ok "$what" "$said"; fi
}
# asks WHAT PART OPTIONS...: refuses, and says which option decides
asks() {
    what=$1 part=$2
    shift 2
    rm -rf run
    fails "$what" 64 "$part" "$DEML" train --on simulated --no-comparison --rounds 1 --model tiny.yaml --output run "$@"
}

learns "a named label" "3: 'ash', 'birch', 'cedar'" --data named.csv
asks "a label at either end" "'smoker'" --data two.csv
asks "a quantity is not guessed" "--label-column" --data price.csv --model line.yaml
learns "a label by number" "called so" --data label.csv
learns "a table without names" "header    no" --data bare.csv --label-column 3
learns "column numbers of pandas" "'label'" --data pandas.csv
learns "whole numbers are quantities for mse" "numbers to predict: 'count'" --data count.csv --label-column count --model line.yaml
learns "-1 and 1" "2: '-1', '1'" --data minus.csv
learns "a missing value in the first line" "1 in '2'" --data gaps.csv --label-column 0
learns "separators in quoted names" "'a, cm', 'b, cm'" --data quoted.csv
learns "line ends of old" "240 rows" --data mac.csv
learns "columns in another order" "60 rows of a file of their own" --data order
at_least "which are found by name" 0.9 "$("$DEML" evaluate --model run --json 2>/dev/null |
    "$python" -c 'import json, sys; print(json.loads(sys.stdin.read())["accuracy"])')"
learns "Kaggle's test set without labels" "has no label column" --data kaggle
succeeds "a part of the training set is measured instead" "$DEML" evaluate --model run
contains "and not the file without labels" "(test)" "$output"
learns "scikit-learn's names, and labels of 0.0" "3: '0', '1', '2'" --data capitals.npz
learns "Fortran order, big-endian, texts" "3: 'ash', 'birch', 'cedar'" --data texts.npz
learns "torchvision's folder" "uncompressed" --data raw --model pictures.yaml
learns "channels last, one-hot" "channels last" --data last.npz --model pictures.yaml
succeeds "predicts for channels last" "$DEML" predict --model run --data last.npz --count 1

learns "a model for predictions" "classes" --data label.csv
"$DEML" predict --model run --data new.csv --count 0 -o first.csv >/dev/null 2>&1
equal "a prediction for each row" 21 "$(wc -l <first.csv | tr -d ' ')"
for file in new_tabs new_quoted; do
    "$DEML" predict --model run --data $file.csv --count 0 -o $file.out.csv >/dev/null 2>&1
    same_bytes "$file gives the same" first.csv $file.out.csv
done
"$DEML" predict --model run --data new_labelled.csv --count 0 -o labelled.csv >/dev/null 2>&1
equal "labels stand beside predictions" "example,label,predicted,0,1,2" "$(head -n 1 labelled.csv)"
equal "a labelled table loses no row" 21 "$(wc -l <labelled.csv | tr -d ' ')"
fails "a column that is not there" 65 "'c'" "$DEML" predict --model run --data price.csv

learns "names of classes" "cedar" --data named.csv
contains "predictions name the classes" "ash" "$("$DEML" predict --model run --data new.csv --count 20 2>&1)"
learns "a model that knows its label" "price" --data price.csv --label-column price --model line.yaml
equal "which need not be said again" "$("$DEML" evaluate --model run --data price.csv --label-column price --json 2>/dev/null)" \
    "$("$DEML" evaluate --model run --json 2>/dev/null)"

mkdir one
cp label.csv tiny.yaml one
(cd one && "$DEML" train --on simulated --no-comparison --model tiny.yaml --data label.csv --rounds 2 -o run >/dev/null 2>&1)
mv one other
succeeds "a moved run and moved data go on" "$DEML" train --resume other/run --rounds 3
printf '\357\273\277data: label.csv\nmodel: tiny.yaml\nfleet: simulated\nrounds: 1\ncomparison: false\n' >mark.yaml
succeeds "settings with a byte order mark" "$DEML" train mark.yaml -o marked

for number in 1 2 3; do
    "$DEML" train --on simulated --no-comparison --model tiny.yaml --data label.csv --rounds 30 >together$number 2>&1 &
    eval "process$number=\$!"
done
together=0
for number in 1 2 3; do
    eval "wait \$process$number" && together=$((together + 1))
done
equal "runs that begin at once" 3 "$together"

succeeds "settings for a table" "$DEML" init named.csv
succeeds "which train takes" "$DEML" train named.yaml --no-comparison --rounds 1 -o named
fails "settings are not written over" 73 "named.yaml" "$DEML" init named.csv
succeeds "no settings at all" "$DEML" train --data named.csv --no-comparison --rounds 2 -o chosen
contains "show the model" "out_features: 3" "$output"
succeeds "a shard for each kind" "$DEML" shard two.csv --label-column ill --partition by_column:smoker -o wards
equal "shards by a column" 2 "$(ls wards/shard-*.gz | wc -l | tr -d ' ')"
mkdir sites
head -n 61 named.csv >sites/north.csv
(head -n 1 named.csv && tail -n 180 named.csv) | awk -F, -v OFS=';' '{ print $4, $2, $1, $3 }' >sites/south.csv
succeeds "a folder of tables, a client each" "$DEML" train --data sites --partition by_file --model tiny.yaml \
    --on simulated --no-comparison --rounds 20 -o by_file
contains "name the files" "'south.csv (180 rows)'" "$output"
contains "have a client for each file" "2 clients" "$output"
succeeds "which is measured as it was divided" "$DEML" evaluate --model by_file
sed -i '1s/b/d/' sites/south.csv
fails "files that disagree" 65 "no column 'b', which north.csv has" "$DEML" train --data sites --model tiny.yaml -o disagree
finish
