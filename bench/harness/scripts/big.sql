SELECT * FROM bench_big;
