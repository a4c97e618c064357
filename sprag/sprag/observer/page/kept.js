// What this browser keeps of the page from one day to the next.

export const stored = (key, fallback) => {
  try {
    return localStorage.getItem(`sprag-${key}`) ?? fallback;
  } catch {
    return fallback;
  }
};

export const store = (key, value) => {
  try {
    localStorage.setItem(`sprag-${key}`, value);
  } catch {
    // then it is not kept
  }
};
